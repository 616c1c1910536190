from twisted.application.service import Application
from wormhole_mailbox_server.server_tap import Options, makeService

options = Options()
options.parseOptions(["--port", "tcp:4000:interface=127.0.0.1"])
mailbox = makeService(options)

application = Application("mailbox")
mailbox.setServiceParent(application)
