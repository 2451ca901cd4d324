#!/bin/sh
# A repository's life: commits, branches, merges, stashes, clones, repacking.
exec 2>&1
git config --global user.email a@example.com
git config --global user.name name
git config --global init.defaultBranch main
git config --global protocol.file.allow always
git config --global advice.detachedHead false
# Histories and the logs of references have times in them.
export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z
n=0
commit() {
	n=$((n + 1))
	GIT_AUTHOR_DATE="2020-01-01T00:00:$((n + 10))Z" GIT_COMMITTER_DATE="2020-01-01T00:00:$((n + 10))Z" git commit -q "$@"
}
git init -q a && cd a || exit
for i in $(seq 1 60); do
	mkdir -p "d$((i % 7))"
	seq 1 "$i" >"d$((i % 7))/f$i"
done
chmod +x d1/f1
ln -s d1/f1 link
git add . && commit -m first
for i in 1 2 3 4 5; do
	echo "$i" >>d2/f2
	commit -a -m "change $i"
done
git checkout -q -b side HEAD~3
echo side >side
git add side && commit -m side
git checkout -q main
git merge -q --no-edit side
git checkout -q -b rebased HEAD~1
echo other >other
git add other && commit -m other
git rebase -q main
git checkout -q main
git tag v1
cd .. && git clone -q a b && git clone -q --bare a bare.git && git clone -q --depth 1 "file://$PWD/a" shallow && cd b || exit
echo dirty >>d3/f3
echo new >new
git status --porcelain
git stash -q -u
git status --porcelain
git stash pop -q
git status --porcelain
git add . && commit -m more
git push -q ../bare.git main
git log --graph --format='%h %an %s'
git fsck --full
git gc -q --prune=now
git count-objects
git worktree add -q ../tree v1
git submodule -q add ../bare.git sub
git submodule status
git archive HEAD | tar t | wc -l
git bundle create -q ../bundle main && git bundle verify -q ../bundle
git grep -c 33 | sort | tail -n 3
git blame -s d2/f2 | tail -n 3
git clean -fdqx && git reset -q --hard v1 && git status --porcelain
git reflog | wc -l
cd .. && git --git-dir bare.git rev-parse main
# What git packs and indexes has times and inodes in it.
find a b tree shallow bare.git -type d -name objects -prune -o -type f ! -name index -print | sort | xargs sha256sum
find . -printf '%M %n %p\n' | sed -E 's,(pack|tmp)[-_][0-9a-zA-Z]+,pack,' | sort
rm -rf a b tree shallow bare.git bundle
