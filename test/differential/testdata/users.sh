#!/bin/bash
# Programs that become other users, enter other roots, or make namespaces.
exec 2>&1
chmod 777 .
echo open >open; chmod 644 open
echo closed >closed; chmod 600 closed
for as in 'setpriv --reuid=65534 --regid=65534 --clear-groups' 'setpriv --reuid=1234 --clear-groups' 'setpriv --regid=7 --groups=8,9' 'setpriv --no-new-privs' 'runuser -u nobody --' 'setpriv --bounding-set=-all --inh-caps=-all'; do
	echo "== $as"
	$as sh -c 'id; cat open; cat closed; echo made >"made by $(id -u):$(id -g)"; cat /etc/shadow | wc -l; cat /proc/self/comm; cat </dev/null'
	echo $?
done
su -s /bin/sh nobody -c 'id -u; cat open; cat closed'
echo "su $?"
perl -e '$< = $> = 65534; print "perl $< $>: "; print((open F, "<", "open") ? <F> : "$!\n"); print((open F, "<", "closed") ? <F> : "$!\n"); open(F, ">", "made by perl") or print "$!\n"; opendir(D, "/proc/self/fd") or print "fd: $!\n"; system "cat", "open"; exec "id", "-u"'
perl -e '$> = 65534; print((open F, "<", "closed") ? <F> : "$!\n"); $> = 0; print((open F, "<", "closed") ? <F> : "$!\n")'
mkdir -p root/bin root/etc root/dev && cp /bin/busybox root/bin && echo 'in the root' >root/etc/file && ln -s /etc/file root/link && ln -s ../../../../etc/file root/up
chroot root /bin/busybox sh -c 'b=/bin/busybox; $b cat /etc/file /link /up; $b cat /../etc/file; cd /; $b cat etc/file; echo made >/made; $b ls -l /made | $b cut -c1-10; exec $b cat link'
echo "chroot $?"
chroot --userspec=1234:5678 root /bin/busybox sh -c 'b=/bin/busybox; $b id; $b cat /etc/file; $b cat /closed; echo x >/x'
echo "chroot $?"
perl -e 'chdir "root"; chroot "."; open(F, "<", "/etc/file") and print <F>; open(F, "<", "../../etc/file") and print <F>; chdir "/"; exec "/bin/busybox", "cat", "/etc/file"'
unshare -r sh -c 'id -u; cat closed; echo mapped >mapped; cat /proc/self/uid_map'
echo "unshare -r $?"
unshare -m sh -c 'mount -t tmpfs none root/etc && echo hidden >root/etc/file && cat root/etc/file && umount root/etc; cat root/etc/file'
echo "unshare -m $?"
unshare -p -f --mount-proc sh -c 'echo $$; cut -d" " -f4 /proc/self/stat; cat /proc/1/comm; cat open </dev/stdin; cat /proc/self/root/etc/hostname | wc -l' <open
echo "unshare -p $?"
unshare -n sh -c 'cat /proc/net/dev | wc -l; cat open'
echo "unshare -n $?"
unshare -rm sh -c 'mount --bind root/etc root/dev && cat root/dev/file'
echo "unshare -rm $?"
unshare -u sh -c 'hostname other && hostname'
echo "unshare -u $?"
rm -rf root/bin
