#!/bin/bash
# What only a shell does with descriptors, processes and signals.
exec 2>&1
cat <(echo a) <(echo b)
read -r x < <(echo in)
echo "$x"
echo out > >(sed s/out/through/)
wait $!
diff <(seq 1 5) <(seq 1 2 5)
exec 7<>/dev/null
echo a >&7
exec {fd}>numbered
echo numbered >&$fd
exec {fd}>&-
coproc { while read -r l; do echo "co $l"; done; }
coproc=$COPROC_PID
echo q >&"${COPROC[1]}"
read -r r <&"${COPROC[0]}"
echo "$r"
eval "exec ${COPROC[1]}>&-"
wait "$coproc"
mapfile -t m </etc/passwd
[ ${#m[@]} -gt 1 ] && echo mapped
set -C
echo x >numbered
echo $?
echo x >|numbered
set +C
cat <<-H
	here $((1 + 1))
H
cat <<<string
for i in 1 2 3 4 5 6; do (exit "$i") & done
for _ in 1 2 3 4 5 6; do wait -n; echo $?; done >ends
sort ends
rm ends
trap 'echo term' TERM
kill -TERM $$
trap 'echo usr1' USR1
(sleep 0.3; kill -USR1 $$) &
wait $!
echo "$?"
wait
mkfifo fifo
(echo through >fifo) &
cat fifo
# Opening a fifo is interrupted by a signal whose handler comes back.
trap 'echo while opening' USR2
(sleep 0.3; kill -USR2 $$; sleep 0.3; echo late >fifo) &
read -r late <fifo
echo "$late"
wait
timeout 1 cat fifo
echo $?
(ulimit -n 4; cat numbered)
echo $?
. <(echo 'echo sourced')
source /dev/stdin <<<'echo from standard input'
type -t ls >/dev/null && command -v nosuch
./numbered
echo $?
/tmp
echo $?
nosuch
echo $?
echo 'echo a script without a first line' >plain
chmod +x plain
./plain
printf '#!/no/such/interpreter\n' >bad
chmod +x bad
./bad
echo $?
printf '#!%s/interpreter x\n' "$PWD" >nested
printf '#!/bin/cat\nnested interpreter\n' >interpreter
chmod +x nested interpreter
./nested
set -m
jobs >/dev/null
sleep 30 &
kill -STOP $!
sleep 0.3
jobs | grep -c Stopped
exec 7>&2 2>/dev/null # bash says "Killed" or not, by chance
kill -KILL $!
until wait $!; [ $? != 147 ]; do :; done # 147: it was stopped
exec 2>&7 7>&-
echo "no longer"
exec 3</dev/tcp/127.0.0.1/1
echo $?
echo "$BASHPID" | grep -c .
cd / && cd - >/dev/null && pwd | grep -c work
cat /dev/fd/9 9<<<nine
cat /proc/self/fd/8 8<numbered
ls /proc/self/fd | wc -l
trap 'echo bye; exit 11' EXIT
kill -INT $$
sleep 5
