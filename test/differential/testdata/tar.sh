#!/bin/sh
# Archives of many files of all kinds, made and unpacked.
exec 2>&1
umask 027
mkdir -p t/deep/er t/closed
for i in $(seq 1 400); do
	seq 1 "$i" >"t/f$i"
done
i=0
while [ $i -lt 40 ]; do
	mkdir -p "t/d$i"
	ln -s "../f$i" "t/d$i/link"
	ln "t/f$((i + 1))" "t/d$i/hard"
	i=$((i + 1))
done
mkfifo t/fifo
truncate -s 5M t/sparse
printf end >>t/sparse
chmod 4755 t/f1
chmod 1777 t/deep
chmod 400 t/f2
chmod 500 t/closed
[ "$(id -u)" != 0 ] || { chown 1:2 t/f3; mknod t/null c 1 3; }
touch -d 2020-01-01T00:00:00Z t/f4
long=t/$(printf '%0200d' 0)
mkdir "$long" && echo long >"$long/$(printf '%0100d' 1)"
tar -S --sort=name --numeric-owner -cf a.tar t
for how in z j J; do
	tar "-c${how}f" "a.$how" t && mkdir "out$how" && tar "-x${how}f" "a.$how" -C "out$how"
	diff -r --no-dereference -x fifo -x null t "out$how/t" && echo "same $how"
done
mkdir out && tar -xpSf a.tar -C out && tar -df a.tar && echo no difference
tar tvf a.tar --full-time | awk '{ $4 = $5 = ""; print }' | head -n 500
[ "$(stat -c %b out/t/sparse)" -lt 1000 ] && echo sparse
tar --exclude 'f*' -cf - t | tar tf - | wc -l
echo more >t/new
tar -rf a.tar t/new && tar --delete -f a.tar t/f9 && tar tf a.tar | wc -l
tar -xOf a.tar t/f4 t/new
tar -xf a.tar no/such
echo $?
tar --listed-incremental=snap -cf full.tar t && echo x >t/f10 && tar --listed-incremental=snap -cf incr.tar t && tar tf incr.tar | grep -v '/$'
cp -a t copy && diff -r --no-dereference -x fifo -x null t copy && echo copied
(cd t && find . -depth -print0 | sort -z | busybox cpio -o -H newc -0 2>/dev/null | sha256sum | wc -c)
rm a.* full.tar incr.tar snap
chmod 700 t/closed copy/t/closed out*/t/closed 2>/dev/null
exit 0
