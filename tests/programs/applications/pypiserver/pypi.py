import pypiserver

application = pypiserver.app(root="packages", password_file=".", authenticate=[])
