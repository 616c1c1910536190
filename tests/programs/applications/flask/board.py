import io
import time

from flask import Flask, redirect, request, session, url_for

app = Flask(__name__)
app.secret_key = "a secret that all processes share"


@app.get("/")
def index():
    return f"Hello {session.get('name', 'stranger')}"


@app.post("/login")
def login():
    session["name"] = request.form["name"]
    return redirect(url_for("index"))


@app.post("/files")
def upload():
    content = io.BytesIO()
    request.files["file"].save(content)
    return {"bytes": len(content.getvalue())}


@app.get("/report")
def report():
    def lines():
        for number in range(10):
            time.sleep(0.01)
            yield f"line {number}\n"

    return lines(), {"Content-Type": "text/plain"}
