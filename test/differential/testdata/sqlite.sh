#!/bin/sh
# Databases with a write-ahead log, several writers at once, and temporary files.
exec 2>&1
db() {
	sqlite3 -bail -cmd '.timeout 30000' "$@"
}
for mode in wal delete truncate persist memory; do
	db "$mode.db" "pragma journal_mode=$mode; create table t(a, b); create index i on t(b);"
	pids=
	for writer in 1 2 3 4; do
		(for i in $(seq 1 10); do
			db "$mode.db" "begin immediate; insert into t values($writer, $i); commit;" || echo "writer $writer failed"
		done) &
		pids="$pids $!"
	done
	for i in 1 2 3 4 5; do
		db "$mode.db" "select count(*) < 41 from t;"
	done
	for pid in $pids; do
		wait "$pid" || echo "writer: $?"
	done
	db "$mode.db" "select count(*), sum(a), sum(b) from t; pragma integrity_check;"
done
db wal.db "with recursive c(x) as (select 1 union all select x+1 from c where x<20000) insert into t select x, hex(x*7919) from c;
pragma temp_store=1; pragma cache_size=10; create table s as select * from t order by b desc; select count(*), min(b), max(b) from s;
vacuum; attach 'second.db' as two; create table two.t as select * from main.t; pragma wal_checkpoint(truncate);"
db wal.db '.dump' | grep -c INSERT
db wal.db 'select * from t order by a, b' | sha256sum
db wal.db '.backup copy.db' && db copy.db 'select count(*) from s; pragma integrity_check;'
db -readonly copy.db 'insert into t values(1,1)'
echo $?
db /no/such/x.db 'select 1'
echo $?
mkdir closed && chmod 500 closed && db closed/x.db 'create table t(a)'
echo $?
find . -printf '%M %p\n' | sort
rm -rf -- *.db closed
