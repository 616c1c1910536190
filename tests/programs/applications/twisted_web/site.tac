from twisted.application.internet import TCPServer
from twisted.application.service import Application
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.web.distrib import ResourceSubscription
from twisted.web.guard import BasicCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site
from twisted.web.static import Data, File
from twisted.web.vhost import NameVirtualHost
from twisted.web.xmlrpc import XMLRPC
from zope.interface import implementer


class Arithmetic(XMLRPC):
    def xmlrpc_add(self, a, b):
        return a + b


@implementer(IRealm)
class Secrets:
    def requestAvatar(self, avatarId, mind, *interfaces):
        return IResource, Data(b"Hello " + avatarId, "text/plain"), lambda: None


users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"secret")
guarded = HTTPAuthSessionWrapper(Portal(Secrets(), [users]), [BasicCredentialFactory("site")])

www = File("files")
www.putChild(b"RPC2", Arithmetic())
www.putChild(b"guarded", guarded)
www.putChild(b"proxied", ReverseProxyResource("127.0.0.1", 8081, b""))
www.putChild(b"distributed", ResourceSubscription("unix", "backend.sock"))

other = Resource()
other.putChild(b"", Data(b"another host", "text/plain"))

root = NameVirtualHost()
root.default = www
root.addHost(b"other.example", other)

application = Application("site")
server = TCPServer(8080, Site(root), interface="127.0.0.1")
server.setServiceParent(application)
