#!/bin/bash
# A cluster from its making to its end, with clients on a Unix socket. The server
# refuses to be root's.
exec 2>&1
bin=$(echo /usr/lib/postgresql/*/bin)
bin=${bin##* }
as=()
if [ "$(id -u)" = 0 ]; then
	chmod 777 .
	as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
fi
sql() { psql -X -h "$PWD" -U nobody -d postgres -v ON_ERROR_STOP=1 -At "$@"; }
"${as[@]}" "$bin/initdb" -D data -U nobody -A trust -N --locale=C -E UTF8 | sed -n '/ok$/p'
echo "initdb ${PIPESTATUS[0]}"
cat >>data/postgresql.conf <<-C
	listen_addresses = ''
	unix_socket_directories = '$PWD'
	shared_buffers = 16MB
	max_connections = 20
	fsync = off
C
"${as[@]}" "$bin/pg_ctl" -s -w -t 60 -D data -l log start || exit
sql -c "create table t(a int primary key, b text); insert into t select i, md5(i::text) from generate_series(1, 20000) i; create index on t(b);"
"${as[@]}" pgbench -h "$PWD" -U nobody -q -i -s 1 postgres >/dev/null 2>&1
echo "pgbench -i $?"
"${as[@]}" pgbench -h "$PWD" -U nobody -n -c 4 -j 2 -t 40 postgres | grep -E 'processed|failed|clients'
"${as[@]}" pgbench -h "$PWD" -U nobody -n -C -S -c 3 -t 15 postgres | grep -E 'processed|failed|clients'
sql -c 'select count(*), sum(a), min(b) from t' -c 'select count(*) from pgbench_history' -c 'select sum(abalance) = (select sum(tbalance) from pgbench_tellers) from pgbench_accounts'
sql -c 'checkpoint' -c 'vacuum analyze' -c "copy t to program 'wc -l >copied'" -c "select pg_read_file('copied')"
sql -c "set work_mem = '64kB'; select count(*) from (select * from t x order by md5(b || a) offset 0) s"
sql -c "copy t to '/no/such/file'"
sql -c "select pg_ls_dir('base') is not null limit 1"
"${as[@]}" pg_dump -h "$PWD" -U nobody -t t postgres | grep -vE '^(--|.(un)?restrict )' | sha256sum
"${as[@]}" "$bin/pg_basebackup" -h "$PWD" -U nobody -D backup -X fetch -c fast && echo "backup $?"
"${as[@]}" "$bin/pg_ctl" -s -D data reload && sleep 0.2 && "${as[@]}" "$bin/pg_ctl" -s -w -t 60 -D data -m immediate stop
# Recovery from the log.
"${as[@]}" "$bin/pg_ctl" -s -w -t 60 -D data -l log start
sql -c 'select count(*) from t'
"${as[@]}" "$bin/pg_ctl" -s -w -t 60 -D data -m fast stop
"${as[@]}" "$bin/pg_controldata" data | grep state
grep -c PANIC log
find data -maxdepth 1 -printf '%M %u %p\n' | sort
rm -rf data backup log
