"""A server inside a program that has a life of its own: python embedding.py"""

from urllib.request import urlopen

from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource

from twisted_graceful import new


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request):
        return b"Hello\n"


async def main(reactor):
    server = new("127.0.0.1:0", Hello())
    server.startService()
    await server.ready()
    [(host, port)] = server.bound

    answer = await deferToThread(urlopen, f"http://{host}:{port}/")
    print(answer.read().decode(), end="")

    report = await server.stopService()  # drains
    print("stopped:", report)


if __name__ == "__main__":
    react(main)
