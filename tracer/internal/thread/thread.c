#include <pthread.h>

#include "_cgo_export.h"
#include "thread.h"

static void *begin(void *task)
{
	sidearmorThread((uintptr_t)task);
	return NULL;
}

int sidearmor_spawn(uintptr_t task)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err = pthread_attr_init(&attr);

	if (err)
		return err;
	err = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (!err)
		err = pthread_create(&thread, &attr, begin, (void *)task);
	pthread_attr_destroy(&attr);
	return err;
}
