#!/bin/bash
# Tools that do something of their own with files, users, terminals or processes.
exec 2>&1
echo x >z
dd if=z of=y status=none && install -m 600 -D z deep/w && stat -c '%a %U' deep/w
flock z -c 'echo locked'
flock -n z flock -n z echo twice
echo $?
tee v <z
seq 1 200000 | shuf --random-source=/dev/zero | sort -n -S 100k -T . --parallel=2 | sha256sum
sort -o z z
cp -a /etc/passwd p && cmp p /etc/passwd && echo same
cp --reflink=auto --sparse=always p q
script -qec 'tty >/dev/null && echo tty; test -t 0 || echo no; stty size; echo x >/dev/tty' /dev/null </dev/null
setsid -w script -qec 'cat </dev/tty' /dev/null <<<input | tr -d '\r'
mktemp -u | wc -c
mktemp >/dev/null && find . -name 'tmp.*' -printf '%M\n' -delete
cat nosuch deep /
head -c 5 /dev/urandom | wc -c
head -c 5 /dev/zero | od -An -tx1
echo full >/dev/full
echo $?
cat /dev/stdin <<<stdin
echo err >/dev/stderr
echo out >/dev/stdout
ls -l /proc/self/exe | sed 's/.*-> //'
cat /proc/self/comm /proc/self/cmdline | tr '\0' ' '
readlink /proc/self/cwd | grep -c work
sh -c 'cat /proc/$$/comm; [ -r /proc/$PPID/comm ] && echo parent'
grep -E '^(Name|Uid|Gid|Groups|Cap|NoNewPrivs|SigIgn|SigBlk)' /proc/self/status
ulimit -a | sort
umask
nice; ionice
id
find /proc/self/ -maxdepth 1 -printf '%f %m %u\n' | sort
xargs -P 4 -n 1 sh -c 'cat z >/dev/null; echo $0' <<<'1 2 3 4 5 6 7 8' | sort
timeout -s KILL 0.2 sleep 5
echo $?
nohup echo nohup </dev/null
env -i /usr/bin/env
command time -f %x false 2>/dev/null
split -n 3 p part && cat part?? | cmp - p
truncate -s 1M big && fallocate -l 4096 big && stat -c %s big
ln -s loop loop
cat loop
ln z hard && stat -c %h z
touch -r p new && chmod u=rw,go= new && mv new newer
for i in $(seq 1 300); do : >"many$i"; done
ls | wc -l
rm many*
tail -f --pid=$$ z & tail=$!
sleep 0.3
kill $tail
wait $tail
echo $?
tail -n +1 -F --retry follow 2>/dev/null >followed & tail=$!
sleep 0.2; echo 1 >follow; sleep 1.3; echo 2 >>follow; sleep 1.3
kill $tail
wait $tail
cat followed
lsattr z 2>/dev/null | wc -l
getent passwd root nobody
sed -i 's/x/y/' z && cat z
patch -s z <<'P'
--- z
+++ z
@@ -1 +1 @@
-y
+patched
P
cat z
xxd p >/dev/null 2>&1; gzip -9 <p | gunzip | cmp - p && xz <p | unxz | cmp - p && echo packed
ps -o comm= -p $$
ps -e -o pid= | grep -c '^ *1$'
pgrep -P $$ -x nosuch
echo $?
exit 21
