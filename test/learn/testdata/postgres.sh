#!/bin/bash
# A cluster from its making to its end, with pgbench as its client. ABUSE is what the
# server is asked for at the end.
bin=$(echo /usr/lib/postgresql/*/bin)
bin=${bin##* }
sql() { psql -X -h "$PWD" -U nobody -d postgres -v ON_ERROR_STOP=1 -At "$@"; }
"$bin/initdb" -D data -U nobody -A trust -N --locale=C -E UTF8 >/dev/null || exit 1
cat >>data/postgresql.conf <<-C
	listen_addresses = ''
	unix_socket_directories = '$PWD'
	shared_buffers = 16MB
	fsync = off
C
"$bin/pg_ctl" -s -w -t 120 -D data -l log start || exit 1
pgbench -h "$PWD" -U nobody -q -i -s 1 postgres || exit 1
pgbench -h "$PWD" -U nobody -n -c 2 -j 2 -t 20 postgres || exit 1
sql -c 'checkpoint' -c 'vacuum analyze' -c 'select count(*) > 0 from pgbench_accounts' || exit 1
"$bin/pg_ctl" -s -D data reload || exit 1
for what in "$@"; do
	sql -c "$what" 2>&1
done
"$bin/pg_ctl" -s -w -t 120 -D data -m fast stop || exit 1
rm -rf data log
