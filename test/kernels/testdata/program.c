/* A program that ends at once, or that first makes the file MARKER, by which it
 * can be seen that it ran. */
#include <fcntl.h>

int main(void)
{
#ifdef MARKER
	return open(MARKER, O_WRONLY | O_CREAT, 0600) < 0;
#else
	return 0;
#endif
}
