#!/bin/bash
# A repository of its own, and apt and dpkg with a state of their own: updating, a
# simulated installation, fetching, unpacking. Nothing of the machine's is changed.
exec 2>&1
export SOURCE_DATE_EPOCH=1577836800
umask 022
mkdir -p repo state/lists/partial cache/archives/partial etc/apt.conf.d etc/preferences.d root/var/lib/dpkg/{updates,info} log
: >root/var/lib/dpkg/status
build() { # build NAME DEPENDS
	mkdir -p "src/$1/DEBIAN" "src/$1/usr/share/$1"
	printf 'Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: a test\n%s' "$1" "${2:+Depends: $2
}" >"src/$1/DEBIAN/control"
	printf '#!/bin/sh\nset -e\necho "postinst of %s: $*"\n' "$1" >"src/$1/DEBIAN/postinst"
	chmod 755 "src/$1/DEBIAN/postinst"
	for i in $(seq 1 30); do echo "$1 $i" >"src/$1/usr/share/$1/$i"; done
	dpkg-deb --root-owner-group -Zgzip --build "src/$1" "repo/$1.deb"
	{
		dpkg-deb -f "repo/$1.deb"
		printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n\n' "$1" "$(stat -c %s "repo/$1.deb")" "$(sha256sum "repo/$1.deb" | cut -d' ' -f1)"
	} >>repo/Packages
}
build lib
build tool lib
build app 'tool, lib (>= 0.9)'
build broken nosuch
echo "deb [trusted=yes] copy:$PWD/repo ./" >etc/sources.list
apt=(apt-get -q -o "Dir::State=$PWD/state" -o "Dir::State::status=$PWD/root/var/lib/dpkg/status" -o "Dir::Cache=$PWD/cache" -o "Dir::Etc=$PWD/etc" -o "Dir::Log=$PWD/log"
	-o APT::Install-Recommends=0 -o Acquire::Languages=none -o APT::Architecture=amd64 -o "Acquire::AllowInsecureRepositories=1" -o "DPkg::Post-Invoke=" -o "APT::Update::Post-Invoke=" -o APT::Update::Post-Invoke-Success=)
"${apt[@]}" update
"${apt[@]}" install --simulate app
"${apt[@]}" install --simulate broken
echo $?
"${apt[@]}" install --simulate nosuch
echo $?
"${apt[@]}" --print-uris install app | sed 's/ .*//'
"${apt[@]}" install --download-only -y app
(cd cache/archives && "${apt[@]}" download app && ls)
apt-cache -o "Dir::State=$PWD/state" -o "Dir::State::status=$PWD/root/var/lib/dpkg/status" -o "Dir::Cache=$PWD/cache" -o "Dir::Etc=$PWD/etc" depends app
dpkg-deb -c repo/app.deb | awk '{ print $1, $2, $6 }' | head -n 5
if [ "$(id -u)" = 0 ]; then
	# Scripts of packages would need a shell below the root.
	for i in lib tool app; do
		dpkg --root="$PWD/root" --log="$PWD/log/dpkg" --force-script-chrootless --unpack "repo/$i.deb"
	done
	dpkg --root="$PWD/root" --log="$PWD/log/dpkg" --force-script-chrootless --configure -a
	dpkg --root="$PWD/root" --log="$PWD/log/dpkg" --force-script-chrootless --remove app
	dpkg --root="$PWD/root" -l | awk '/^[a-z][a-z] / { print $1, $2, $3 }'
	dpkg --root="$PWD/root" -V
fi
rm -rf cache/*.bin log state/lists/*_Packages src
