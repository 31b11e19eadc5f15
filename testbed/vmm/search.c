// SPDX-License-Identifier: GPL-2.0
/*
 * Looking for the canary in all that the host can see: at one instant, and all
 * the time, by a thread that looks on while the guest runs.
 *
 * The thread looks at one range again and again, as what is there may be seen
 * for a few instructions only; in between it goes through the rest of memory.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "canary.h"
#include "vmm.h"

/* Pages of the rest of memory at a time */
#define STRIDE	8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER;
static struct watch watch;
static bool running;
/* The thread has the lock nearly always: who else wants it says so */
static atomic_bool waiting;

static size_t look(uint64_t addr, uint64_t word, bool *visible)
{
	uint64_t page[PAGE_SIZE / sizeof(uint64_t)];

	*visible = !memory_peek(addr, page, sizeof(page));
	return *visible ? canary_count(page, sizeof(page), word) : 0;
}

/**
 * search_canary - find the canary at one instant
 * @word: the canary
 * @addr, @bytes: where, see audit_range()
 * @found: called for each page that holds it
 * @count: for how many bytes of it there are
 *
 * Called while no vcpu runs: see vm_pause().
 *
 * Return: 0 or a negative errno.
 */
int search_canary(uint64_t word, uint64_t addr, uint64_t bytes,
		  void (*found)(uint64_t addr), uint64_t *count)
{
	struct audit audit;
	uint8_t next[8];
	uint64_t p;
	size_t i;
	int err;

	*count = 0;
	if (!canary_order(word, next))
		return -EINVAL;
	err = audit_range(addr, bytes, &audit);
	for (i = 0; i < audit.nr_ranges && !err; i++)
		for (p = 0; p < audit.ranges[i].pages; p++) {
			uint64_t page = audit.ranges[i].addr + p * PAGE_SIZE;
			bool visible;
			size_t n = look(page, word, &visible);

			*count += n;
			if (n)
				found(page);
		}
	audit_free(&audit);
	return err;
}

static void watch_page(uint64_t addr, bool count)
{
	bool visible;
	size_t n = look(addr, watch.word, &visible);

	watch.looks += count;
	watch.visible += count && visible;
	if (!n)
		return;
	watch.found++;
	watch.last = addr;
	if (n > watch.bytes)
		watch.bytes = n;
}

static void *watch_main(void *arg)
{
	uint64_t p, rest = 0;
	unsigned int i;

	(void)arg;
	for (;;) {
		pthread_mutex_lock(&lock);
		while (!watch.word)
			pthread_cond_wait(&wanted, &lock);
		for (p = 0; p < watch.pages; p++)
			watch_page(watch.addr + p * PAGE_SIZE, true);
		if (++watch.rounds % 64 == 0)
			for (i = 0; i < STRIDE; i++) {
				rest = (rest + PAGE_SIZE) % memory_size();
				watch_page(RAM_BASE + rest, false);
			}
		pthread_mutex_unlock(&lock);
		while (waiting)
			sched_yield();
	}
	return NULL;
}

/**
 * watch_canary - from now on look for this canary, and no longer for the last
 * @word: the canary, 0 for none
 * @addr: of the range to look at most of the time
 * @bytes: its length
 * @last: for what the thread has seen of the last one
 *
 * Return: 0 or a negative errno; -ENODEV if the host has one processor only,
 * on which the thread would see the guest where it stands still.
 */
int watch_canary(uint64_t word, uint64_t addr, uint64_t bytes, struct watch *last)
{
	pthread_t thread;
	uint8_t next[8];
	int err = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return -ENODEV;
	if (word && !canary_order(word, next))
		return -EINVAL;
	if (bytes && (addr < RAM_BASE || bytes > memory_size() ||
		      addr - RAM_BASE > memory_size() - bytes))
		return -ERANGE;
	waiting = true;
	pthread_mutex_lock(&lock);
	waiting = false;
	*last = watch;
	watch = (struct watch){
		.word = word, .addr = addr & ~(PAGE_SIZE - 1),
		.pages = (addr % PAGE_SIZE + bytes + PAGE_SIZE - 1) / PAGE_SIZE,
	};
	if (word && !running) {
		err = -pthread_create(&thread, NULL, watch_main, NULL);
		running = !err;
		if (err)
			watch.word = 0;
	}
	pthread_cond_signal(&wanted);
	pthread_mutex_unlock(&lock);
	return err;
}
