"""Work that outlives its request: twistd -n -y background.tac, then curl -X POST localhost:8080

The queue is a service beside the server. When the process stops, the server drains first, and can
still add jobs; then the queue is stopped, and what it returns is waited for. In an upgrade each
process has its own queue, and the old one works its jobs off.
"""

from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.internet.defer import DeferredLock
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.resource import Resource

from twisted_graceful import GracefulService, new


class Jobs(Service):
    log = Logger()

    def __init__(self):
        self.one_at_a_time = DeferredLock()
        self.done = 0

    def add(self):
        return self.one_at_a_time.run(self.work)

    async def work(self):
        await deferLater(reactor, 0.5)
        self.done += 1

    async def finish(self):
        await self.one_at_a_time.acquire()  # behind all jobs
        self.log.info("{done} jobs done", done=self.done)

    def stopService(self):
        super().stopService()
        return self.finish()


class Accept(Resource):
    isLeaf = True

    def render_POST(self, request):
        jobs.add()
        request.setResponseCode(202)
        return b"accepted\n"


jobs = Jobs()
application = Application("background")
service = GracefulService(new("localhost:8080", Accept()), signals=True)
service.addService(jobs)
service.setServiceParent(application)
