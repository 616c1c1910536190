# Options of `twistd graceful` and gracefulctl, its commands, and files as values.
# Read it from .bashrc.
_twistd_graceful() {
    local word=${COMP_WORDS[COMP_CWORD]} names="s/^ *\(--[a-z-]*\).*/\1/p"
    [[ " ${COMP_WORDS[*]} " == *" graceful "* && $word == -* ]] || return
    COMPREPLY=($(compgen -W "$("$1" graceful --help | sed -n "$names")" -- "$word"))
}
complete -o default -F _twistd_graceful twistd

_gracefulctl() {
    local word=${COMP_WORDS[COMP_CWORD]} commands="status upgrade reload stop workers check log"
    local names="s/^ *\(-[a-z], \)*\(--[a-z-]*\).*/\2/p" command
    if [[ $word == -* ]]; then
        for command in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
            [[ " $commands " == *" $command "* ]] && break
            command=
        done
        COMPREPLY=($(compgen -W "$("$1" $command --help | sed -n "$names")" -- "$word"))
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} != --* ]]; then
        COMPREPLY=($(compgen -W "$commands" -- "$word"))
    fi
}
complete -o default -F _gracefulctl gracefulctl
