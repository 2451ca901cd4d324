"""A web server: files of the working directory, and what it is asked to do beside that."""
import http.server
import socket
import subprocess
import sys
import tempfile
import urllib.parse


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with tempfile.NamedTemporaryFile() as f:
            f.write(body)
            f.flush()
        self.answer(200, "stored")

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        try:
            if url.path == "/open":
                return self.answer(200, open(query["path"], query.get("mode", "r")).read(10) or "empty")
            if url.path == "/run":
                return self.answer(200, subprocess.run([query["path"]], capture_output=True).stdout.decode())
            if url.path == "/connect":
                socket.create_connection((query["host"], int(query["port"])), 5).close()
                return self.answer(200, "connected")
        except OSError as e:
            return self.answer(403 if isinstance(e, PermissionError) else 500, str(e))
        super().do_GET()

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
