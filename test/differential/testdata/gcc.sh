#!/bin/sh
# Compiles: pipes, temporary files, many files at once, libraries, errors.
exec 2>&1
for i in $(seq 1 24); do
	printf 'int f%d(int x) { return x + %d; }\n' "$i" "$i" >"f$i.c"
done
{
	echo '#include <stdio.h>'
	for i in $(seq 1 24); do echo "int f$i(int);"; done
	echo 'int main(void) { int x = 0;'
	for i in $(seq 1 24); do echo "x = f$i(x);"; done
	echo 'char s[20]; sprintf(s, "%d", x); puts(s); return 3; }'
} >main.c
gcc -O2 -pipe main.c f*.c -o piped && ./piped
echo $?
gcc -save-temps -g main.c f*.c -o saved && ./saved
echo $?
ls | wc -l
seq 1 24 | xargs -P 4 -I N gcc -O1 -fPIC -c fN.c -o fN.o
ar rcs libf.a f*.o && gcc main.c -L. -lf -o static && ./static
echo $?
gcc -shared f*.o -o libshared.so && gcc main.c ./libshared.so -o shared && ./shared
echo $?
printf '%s\n' main.c f1.c >files && gcc -fsyntax-only @files && echo syntax
echo 'int main(void) { return nosuch; }' | gcc -x c - -o bad
echo $?
gcc nosuch.c
echo $?
gcc -flto -O2 main.c f*.c -o lto && ./lto
echo $?
gcc -E -dM - </dev/null | wc -l
strip shared && nm -D libshared.so | grep -c ' T '
gcc -MMD -MP -c main.c && cat main.d
rm -f ./*.o ./*.i ./*.s
