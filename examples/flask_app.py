"""A Flask application, as any WSGI callable: twistd -n graceful --port 8080 --app flask_app.app"""

from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello() -> str:
    return "Hello from Flask\n"
