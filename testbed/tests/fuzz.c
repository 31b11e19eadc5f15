// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz SECONDS [SEED]: random registers, rings and mailbox commands for the
 * device models, under sanitizers.  A round starts from a well-formed request
 * and damages some of it, so that it gets far before it is refused.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../vmm/mailbox.h"
#include "../vmm/virtio.h"
#include "fake.h"

#define PRIVATE		(RAM_BASE + 100 * PAGE_SIZE)

static uint64_t state;

static uint64_t rnd(void)
{
	state += 0x9e3779b97f4a7c15ULL;
	return pattern_word(state, 0);
}

static unsigned int below(unsigned int n)
{
	return rnd() % n;
}

/* Numbers that are likely to hurt */
static uint64_t odd(void)
{
	static const uint64_t numbers[] = {
		0, 1, 2, 15, 16, 17, 127, 128, 129, 511, 512, 4095, 4096,
		0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
		0xffffffff, 0x100000000, INT64_MAX, UINT64_MAX,
	};

	switch (below(4)) {
	case 0:
		return rnd();
	case 1:
		return RAM_BASE + below(FAKE_MEMORY + 64);
	case 2:
		return RAM_BASE + FAKE_MEMORY - below(64);
	default:
		return numbers[below(ARRAY_SIZE(numbers))] + below(3) - 1;
	}
}

/* A page that the guest has, or, rarely, any address */
static uint64_t address(void)
{
	return below(20) ? RAM_BASE + below(128) * PAGE_SIZE + below(256) * 16 : odd();
}

/* The guest's writes reach all of its own, which is the first half */
static void put(uint64_t addr, uint64_t val, size_t bytes)
{
	if (addr >= RAM_BASE && addr < PRIVATE - 8)
		memcpy(fake_guest(addr), &val, bytes);
}

static void vwrite(uint64_t reg, uint64_t val)
{
	fake_write(VIRTIO_BASE + reg, val, 4);
}

static void fuzz_ring(void)
{
	uint64_t desc = RAM_BASE + PAGE_SIZE, avail = desc + PAGE_SIZE;
	uint64_t used = avail + PAGE_SIZE, table = used + PAGE_SIZE;
	unsigned int size = 1u << below(8), i, n;

	vwrite(0x70, 0);
	vwrite(0x24, 1);
	vwrite(0x20, 3);
	vwrite(0x70, 11);
	vwrite(0x38, below(50) ? size : odd());
	vwrite(0x80, below(50) ? desc : address());
	vwrite(0x90, below(50) ? avail : address());
	vwrite(0xa0, below(50) ? used : address());
	vwrite(0x44, 1);
	vwrite(0x70, 15);

	n = 1 + below(size < 16 ? size : 16);
	for (i = 0; i < size; i++) {
		uint64_t d = desc + i * 16;
		bool last = i == n - 1;

		put(d, address(), 8);
		put(d + 8, below(10) ? below(5000) : odd(), 4);
		put(d + 12, (last ? 0 : 1) | (i ? below(2) * 2 : 0) |
			    (below(12) ? 0 : 4), 2);
		put(d + 14, below(20) ? i + 1 : odd(), 2);
	}
	/* A header and a status where the device looks for them */
	put(desc + 8, 16, 4);
	put(desc + (n - 1) * 16 + 12, 2, 2);
	for (i = 0; i < 128; i++) {
		put(table + i * 16, address(), 8);
		put(table + i * 16 + 8, below(1000), 4);
		put(table + i * 16 + 12, below(8), 2);
		put(table + i * 16 + 14, below(10) ? i + 1 : odd(), 2);
	}
	if (!below(4)) {
		put(desc, table, 8);
		put(desc + 8, below(10) ? 16 * below(129) : odd(), 4);
		put(desc + 12, 4, 2);
	}
	for (i = 0; i < 16; i++)
		put(RAM_BASE + below(128) * PAGE_SIZE + below(512) * 8,
		    below(2) ? below(10) : odd(), 8);
	put(avail, 0, 2);
	put(avail + 2, below(10) ? 1 + below(size) : odd(), 2);
	for (i = 0; i < size; i++)
		put(avail + 4 + 2 * i, below(20) ? below(size) : odd(), 2);
	if (!below(30))
		disk_hold(disk_get(0), below(2));
	vwrite(0x50, below(50) ? 0 : odd());
}

static void fuzz_registers(void)
{
	unsigned int i;

	for (i = 0; i < 16; i++) {
		uint64_t addr = VIRTIO_BASE + below(0x120);

		if (below(2))
			fake_write(addr, odd(), 1 << below(4));
		else
			fake_read(addr, 1 << below(4));
	}
	for (i = 0; i < 4; i++)
		fake_write(UART_BASE + below(0x48), rnd(), 1 << below(4));
}

static void fuzz_mailbox(void)
{
	unsigned int n = below(6);

	while (n--)
		fake_write(MAILBOX_BASE + MAILBOX_DATA, below(3) ? odd() : below(40), 8);
	fake_write(MAILBOX_BASE + MAILBOX_COMMAND,
		   below(10) ? 1 + below(MAILBOX_DISK_QUEUE + 1) : odd(), 8);
	for (n = 0; n < 4; n++)
		fake_read(MAILBOX_BASE + below(0x30), 8);
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
	uint64_t rounds = 0, seed, done[3];

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	state = seed;
	fprintf(stderr, "seed %" PRIu64 "\n", seed);
	fake_init();
	/* The first half is the guest's, the end of it private */
	memset(fake_guest(RAM_BASE), 0, 128 * PAGE_SIZE);
	fake_private(PRIVATE, 28, true);
	while (time(NULL) < end) {
		unsigned int i;

		for (i = 0; i < 100; i++) {
			switch (below(8)) {
			case 0:
				fuzz_registers();
				break;
			case 1:
				fuzz_mailbox();
				break;
			default:
				fuzz_ring();
			}
		}
		rounds += i;
	}
	disk_stats(disk_get(0), done);
	fprintf(stderr, "%" PRIu64 " rounds, %" PRIu64 " requests went through, %u were refused\n",
		rounds, done[0], fake_stops);
	/* Random rings of which none gets through test nothing */
	return !done[0] || !fake_stops;
}
