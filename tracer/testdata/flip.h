/* The thread of a race: it overwrites a path, as fast as it can, with another one and back. */
static volatile char path[256];
static const char *from, *secret;
static volatile int stop;

static void set(const char *to)
{
	for (size_t i = 0; i <= strlen(to); i++)
		path[i] = to[i];
}

static void *flip(void *unused)
{
	while (!stop) {
		set(secret);
		set(from);
	}
	return unused;
}
