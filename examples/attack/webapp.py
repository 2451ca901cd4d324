"""A web application with a hole: it puts what a visitor types into a shell command."""

import http.server
import subprocess
import sys
import urllib.parse


class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        host = query.get("host", ["localhost"])[0]
        done = subprocess.run(f"getent hosts {host}", shell=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(done.stdout + done.stderr)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), App)
print("ready", flush=True)
server.serve_forever()
