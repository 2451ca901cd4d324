/* A program without a C library that forks before any other call. Both processes open a file, and say so if they can. */
#ifdef __aarch64__
static long call(long nr, long a, long b, long c, long d, long e)
{
	register long x8 asm("x8") = nr, x0 asm("x0") = a, x1 asm("x1") = b, x2 asm("x2") = c, x3 asm("x3") = d, x4 asm("x4") = e;

	asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}
enum { WRITE = 64, OPENAT = 56, CLONE = 220, EXIT = 93, WAIT4 = 260 };
#else
static long call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 asm("r10") = d, r8 asm("r8") = e;
	long r;

	asm volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return r;
}
enum { WRITE = 1, OPENAT = 257, CLONE = 56, EXIT = 60, WAIT4 = 61 };
#endif

static void attempt(const char *text, long n)
{
	if (call(OPENAT, -100, (long)"/etc/passwd", 0, 0, 0) >= 0)
		call(WRITE, 1, (long)text, n, 0, 0);
}

void _start(void)
{
	long child = call(CLONE, 17 /* SIGCHLD */, 0, 0, 0, 0);

	if (child == 0) {
		attempt("CHILD\n", 6);
		call(EXIT, 0, 0, 0, 0, 0);
	}
	call(WAIT4, child, 0, 0, 0, 0);
	attempt("PARENT\n", 7);
	call(EXIT, 0, 0, 0, 0, 0);
}
