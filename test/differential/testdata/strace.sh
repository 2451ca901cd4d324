#!/bin/sh
# Programs that look into others: their parents may.
exec 2>&1
strace -f -qq -e trace=openat,execve -o log sh -c 'cat /etc/hostname >/dev/null; exit 3'
echo "strace $?"
grep -cE 'openat\(.*"/etc/hostname".*= [0-9]' log
grep -cE 'execve\(.*= 0$' log
strace -f --seccomp-bpf -qq -e trace=openat -o log cat /no/such/file
echo "strace --seccomp-bpf $?"
echo "$(grep -c ENOENT log) with --seccomp-bpf"
strace -qq -e trace=none -e inject=openat:error=EIO:when=20+ cat /etc/hostname 2>/dev/null | wc -c
sleep 60 &
p=$!
strace -q -p $p -o log &
s=$!
sleep 0.5
kill $p
wait $s
echo "attached $?"
sh -c 'sleep 60 & sleep 0.5
test -s /proc/$!/maps && echo maps
[ "$(wc -c </proc/$!/environ)" -gt 10 ] && echo environment
ls -l /proc/$!/fd | wc -l; readlink /proc/$!/exe; kill $!'
rm log
