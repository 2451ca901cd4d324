#ifndef SIDEARMOR_THREAD_H
#define SIDEARMOR_THREAD_H

#include <stdint.h>

// Starts a thread with the credentials of this one, in which sidearmorThread(task)
// runs. Returns 0 or an errno.
int sidearmor_spawn(uintptr_t task);

#endif
