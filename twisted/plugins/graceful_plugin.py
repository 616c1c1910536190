from twisted.application.service import ServiceMaker

graceful = ServiceMaker(
    "twisted-graceful",
    "twisted_graceful.cli.plugin",
    "Serve web resources; stop and upgrade without losing a request.",
    "graceful",
)
