#!/bin/bash
# A server on a Unix socket, with snapshots and rewritten logs by forked children.
exec 2>&1
redis-server - >log 2>&1 <<-C &
	port 0
	unixsocket $PWD/sock
	dir $PWD
	appendonly yes
	save ""
	io-threads 2
C
server=$!
cli() { redis-cli -s sock "$@"; }
for _ in $(seq 1 300); do
	[ "$(cli ping 2>/dev/null)" = PONG ] && break
	sleep 0.1
done
idle() { # waits until the child is done
	for _ in $(seq 1 300); do
		cli info persistence | grep -qE '(rdb_bgsave|aof_rewrite)_in_progress:1|aof_rewrite_scheduled:1' || return
		sleep 0.1
	done
}
redis-benchmark -s sock -q -n 3000 -c 20 -t set,get,lpush,rpop,mset >benchmark
echo "benchmark $?, $(tr '\r' '\n' <benchmark | grep -c 'requests per second')"
for i in $(seq 1 200); do echo "set key:$i value$i"; done | cli >/dev/null
cli dbsize
cli bgsave; idle
cli bgrewriteaof; idle
cli set after rewrite
cli config set appendfsync always
cli eval 'return redis.call("get", KEYS[1])' 1 key:77
cli save
cli --rdb copy.rdb >/dev/null 2>&1
redis-check-rdb copy.rdb | grep -cE 'keys read|looks OK'
cli shutdown
wait $server
echo "server $?"
for file in appendonlydir/*.manifest; do redis-check-aof "$file" | tail -n 1; done
redis-server --port 0 --unixsocket "$PWD/sock" --dir "$PWD" --appendonly yes --daemonize yes --pidfile "$PWD/pid" --logfile "$PWD/log" >/dev/null
for _ in $(seq 1 300); do
	[ "$(cli ping 2>/dev/null)" = PONG ] && break
	sleep 0.1
done
cli dbsize
cli get key:200
cli shutdown nosave
for _ in $(seq 1 300); do [ -e pid ] || break; sleep 0.1; done
find . -printf '%M %p\n' | sort
rm -rf log benchmark appendonlydir ./*.rdb
