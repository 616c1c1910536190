# Options of `twistd graceful`, and files as their values. Read it from .bashrc.
_twistd_graceful() {
    local word=${COMP_WORDS[COMP_CWORD]} names="s/^ *\(--[a-z-]*\).*/\1/p"
    [[ " ${COMP_WORDS[*]} " == *" graceful "* && $word == -* ]] || return
    COMPREPLY=($(compgen -W "$("$1" graceful --help | sed -n "$names")" -- "$word"))
}
complete -o default -F _twistd_graceful twistd
