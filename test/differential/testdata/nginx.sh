#!/bin/bash
# A server that is reloaded, and reopens its logs, while requests go on.
exec 2>&1
mkdir -p html tmp
chmod 755 . html
echo hello >html/index.html
head -c 300000 /dev/zero >html/big
echo secret >html/closed
chmod 600 html/closed
for i in $(seq 1 40); do echo "$i" >"html/$i"; done
user=
[ "$(id -u)" != 0 ] || { user='user www-data;'; chown root html/closed; }
cat >nginx.conf <<-C
	$user
	worker_processes 2;
	daemon off;
	pid $PWD/nginx.pid;
	error_log $PWD/error.log notice;
	events { worker_connections 128; }
	http {
		access_log $PWD/access.log;
		client_body_temp_path $PWD/tmp/body;
		proxy_temp_path $PWD/tmp/proxy;
		fastcgi_temp_path $PWD/tmp/fastcgi;
		uwsgi_temp_path $PWD/tmp/uwsgi;
		scgi_temp_path $PWD/tmp/scgi;
		open_file_cache off;
		server {
			listen unix:$PWD/sock;
			root $PWD/html;
			client_max_body_size 10m;
			location /upstream/ { proxy_pass http://unix:$PWD/sock:/; client_body_buffer_size 1k; proxy_max_temp_file_size 0; }
			location /list/ { alias $PWD/html/; autoindex on; }
		}
	}
C
nginx -e "$PWD/error.log" -c "$PWD/nginx.conf" -p "$PWD" &
server=$!
get() { curl -sS --max-time 60 --unix-socket sock --path-as-is -w '%{http_code} %{size_download}\n' "$@"; }
for _ in $(seq 1 300); do
	[ -S sock ] && [ -s nginx.pid ] && break
	sleep 0.1
done
for client in 1 2 3 4; do
	(for _ in 1 2 3 4 5 6; do get -o /dev/null 'http://x/[1-40]'; done >"got$client") &
	clients="$clients $!"
done
for _ in 1 2 3 4 5; do
	kill -HUP $server
	sleep 0.3
done
wait $clients
sort got? | uniq -c
for path in '' nosuch closed big upstream/big html list/ ../../etc/passwd; do
	echo "/$path $(get -o /dev/null "http://x/$path")"
done
# The workers open the logs again, as the user that they are.
for n in 1 2 3; do
	mv access.log "access.$n" && kill -USR1 $server
	for _ in $(seq 1 300); do
		get -o /dev/null "http://x/$n" >/dev/null
		[ -s access.log ] && echo "log $n" && break
		sleep 0.1
	done
done
get -o /dev/null --data-binary @html/big http://x/upstream/1
kill -QUIT $server
wait $server
echo "server $?"
[ "$(cat access.* | wc -l)" -gt 960 ] && echo logged
grep -vE '\[notice\]' error.log | sed 's/^.*[0-9]#[0-9]*: //; s/\*[0-9]* //; s/000[0-9]*/N/' | sort | uniq -c
grep -c reconfiguring error.log
rm -f got? access.* error.log
