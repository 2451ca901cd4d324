#!/bin/sh
# Applets of busybox, and its shell and dash with the same script.
exec 2>&1
cat >script <<'S'
set -u
x=$(echo sub)
echo "$x"
for i in 1 2 3; do echo "$i" >"file$i"; done
cat file1 file2 - <<H
here
H
cat no/such; echo $?
echo more >>file1
( exit 3 ); echo $?
[ -r file1 ] && [ ! -e nosuch ] && echo there
mkfifo p; (echo fifo >p) & read -r l <p; echo "$l"; wait
exec 5<file1; read -r a <&5; read -r b <&5; echo "$a $b"; exec 5<&-
trap 'echo trapped' TERM; kill -TERM $$
cd . && . ./sourced
umask 077; : >private; ls -l private | cut -c1-10
seq 1 2000 | sort -n | tail -n 1
exec 9>lock; flock 9; echo locked
rm -f p
S
echo 'echo sourced' >sourced
for shell in 'busybox sh' dash bash; do
	echo "== $shell"
	$shell script
	echo $?
done
b() { busybox "$@"; echo "$1 $?"; }
echo == applets
b find . -type f | sort
b tar cf a.tar file1 file2
mkdir o && b tar xf a.tar -C o
b cp -a file1 copy
b dd if=/dev/zero of=zero bs=4096 count=7 conv=fsync 2>/dev/null
b sed -i s/1/one/ file1
b cat file1
b mktemp -d >temp && rmdir "$(head -n 1 temp)"
b awk '{ print > "awk.out" } END { while ((getline l < "file2") > 0) print l }' file1
b sort -o sorted file1
b gzip -k file2
b zcat file2.gz
b ln -s file1 sym
b readlink -f nosuch/x
b truncate -s 10 cut
b cmp file1 copy
b vi -c ':q!' file1 </dev/null >/dev/null
b ash -c 'echo $0'
b xargs -n 1 echo <file2
b timeout 1 sleep 5
b stat -c '%a %s' cut
b touch -t 202001010000 old
b rm -r o temp file2.gz
b env -i FOO=bar env
rm -f a.tar
