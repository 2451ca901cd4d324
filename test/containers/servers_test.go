package containers

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// servers are what people run. Each is in a root file system with the machine's own programs.
func servers() []server {
	http := []string{"/usr/bin/curl", "--silent", "--show-error", "--fail", "--max-time", "20", "http://127.0.0.1:8080/public"}
	return []server{
		// A master that is root, and workers that give that up without an exec.
		{"nginx", "", []string{"/usr/sbin/nginx", "-c", "/work/nginx.conf"}, http, "public", true},
		{"redis", "65534", []string{"/usr/bin/redis-server", "--port", "6379", "--save", "", "--dir", "/data"}, []string{"/usr/bin/redis-cli", "ping"}, "PONG", false},
		{
			"postgres", "65534",
			[]string{"/bin/sh", "-c", `bin=$(echo /usr/lib/postgresql/*/bin); bin=${bin##* }; "$bin/initdb" -D /data/db -U nobody -A trust -N >/dev/null && exec "$bin/postgres" -D /data/db -k /data -c listen_addresses=`},
			[]string{"/usr/bin/psql", "-X", "-h", "/data", "-U", "nobody", "-d", "postgres", "-Atc", "select 'public'"},
			"public", false,
		},
		{"python", "65534", []string{"/usr/bin/python3", "-m", "http.server", "8080", "--bind", "127.0.0.1", "--directory", "/work"}, http, "public", true},
		{"node", "65534", []string{"/usr/bin/node", "/work/server.js"}, http, "public", true},
		{"java", "65534", []string{"/usr/bin/java", "-Xmx64m", "/work/Server.java"}, http, "public", true},
	}
}

type server struct {
	name, user string
	command    []string
	client     []string
	says       string
	files      bool // it gives out what is in /work
}

const (
	nginxConf = `daemon off; worker_processes 2; user www-data; pid /tmp/nginx.pid; error_log stderr;
events {}
http {
  access_log off; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
  server { listen 127.0.0.1:8080; root /work; }
}
`
	nodeServer = `const server = require("http").createServer((q, r) => require("fs").readFile("/work" + q.url, (e, body) => { r.statusCode = e ? 403 : 200; r.end(body) }))
process.on("SIGTERM", () => { server.closeAllConnections(); server.close() })
server.listen(8080, "127.0.0.1")
`
	javaServer = `import com.sun.net.httpserver.*; import java.net.*; import java.nio.file.*;
public class Server { public static void main(String[] a) throws Exception {
  HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", 8080), 0);
  s.createContext("/", x -> { byte[] b = {}; int code = 200;
    try { b = Files.readAllBytes(Path.of("/work" + x.getRequestURI().getPath())); } catch (java.io.IOException e) { code = 403; }
    x.sendResponseHeaders(code, b.length == 0 ? -1 : b.length); x.getResponseBody().write(b); x.close(); });
  s.start(); } }
`
	serverPolicy = `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: keep-secret}
spec:
  selector: {matchLabels: {}}
  file: {matchPaths: [{path: /work/secret}]}
  action: Block
`
)

// Servers start, serve, are denied what a policy forbids, and stop, from the definition that inject
// made; the last alert is delivered by a sidekick that stops after them.
func TestInjectedServers(t *testing.T) {
	for _, s := range servers() {
		t.Run(s.name, func(t *testing.T) {
			k := newTask(t)
			for _, program := range []string{s.command[0], s.client[0]} {
				_, err := exec.LookPath(program)
				require(t, err == nil, program)
			}
			for name, text := range map[string]string{
				"work/nginx.conf": nginxConf, "work/server.js": nodeServer, "work/Server.java": javaServer, "work/public": "public\n", "work/secret": "secret\n",
			} {
				k.write(name, text)
			}
			containers := k.fromDefinition(k.inject("ecs", k.write("definition.json", s.definition(t)),
				"--sidekick-env", "WEBHOOK_ADDRESS=http://127.0.0.1:9000/webhook", "--policies", k.write("policy.yaml", serverPolicy)))
			if err := os.Chmod(k.path("volumes/data"), 0o777); err != nil { //nolint:gosec // any user is to write to it
				t.Fatal(err)
			}
			app, sidekick := containers["server"], containers["sidearmor-sidekick"]
			k.startReceiver()
			if _, stderr, status := k.run(containers["sidearmor-install"]); status != 0 {
				t.Fatalf("install: %d %s", status, stderr)
			}
			k.start(sidekick)
			k.start(app)
			k.eventually(s.name+" serves", func() bool {
				out, err := k.runc(t.Context(), append([]string{"exec", k.name(app)}, s.client...)...).Output()
				return err == nil && strings.TrimSpace(string(out)) == s.says
			})
			if s.files {
				secret := strings.Replace(strings.Join(s.client, "\n"), "/public", "/secret", 1)
				out, err := k.runc(t.Context(), append([]string{"exec", k.name(app)}, strings.Split(secret, "\n")...)...).Output()
				if err == nil || strings.Contains(string(out), "secret") {
					t.Errorf("the secret was given out: %q, %v", out, err)
				}
			}
			k.stop(app)
			k.stop(sidekick)
			if s.files && !slices.ContainsFunc(k.alerts(), func(a alert) bool { return a.PolicyName == "keep-secret" && a.Result == "Permission denied" }) {
				t.Errorf("the alert was not delivered: %+v", k.alerts())
			}
		})
	}
}

// definition is the task definition that the user has.
func (s *server) definition(t *testing.T) string {
	t.Helper()
	c := map[string]any{
		"name": "server", "image": "machine:1", "entryPoint": s.command[:1], "command": s.command[1:],
		"mountPoints": []map[string]any{{"sourceVolume": "data", "containerPath": "/data"}},
	}
	if s.user != "" {
		c["user"] = s.user
	}
	text, err := json.Marshal(map[string]any{
		"family": "servers", "networkMode": "awsvpc", "requiresCompatibilities": []string{"FARGATE"}, "cpu": "256", "memory": "512",
		"volumes": []map[string]any{{"name": "data"}}, "containerDefinitions": []any{c},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
