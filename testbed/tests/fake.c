// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../vmm/vmm.h"
#include "fake.h"

unsigned int fake_stops;
int fake_status;
bool fake_irq;

void vm_stop(enum status status, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	report("end: %s", why);
	fake_stops++;
	fake_status = status;
}

int vm_pause(void)
{
	return 0;
}

void guest_log(void)
{
}

void device_irq(struct device *dev, bool level)
{
	(void)dev;
	fake_irq = level;
}

void fake_init(void)
{
	int err = memory_init(RAM_BASE, FAKE_MEMORY);

	if (err || uart_init() || mailbox_init() || disk_init(0, "disk", 256, 512, 0)) {
		fprintf(stderr, "no fake machine: %d\n", err);
		exit(125);
	}
}

void *fake_guest(uint64_t addr)
{
	return (char *)memory_host() + (addr - RAM_BASE);
}

void fake_private(uint64_t addr, unsigned int pages, bool private)
{
	if (mprotect(fake_guest(addr), pages * PAGE_SIZE,
		     private ? PROT_NONE : PROT_READ | PROT_WRITE)) {
		perror("mprotect");
		exit(125);
	}
}

uint64_t fake_read(uint64_t addr, unsigned int size)
{
	struct device *dev = device_find(addr);

	return dev ? dev->ops->read(dev, addr - dev->base, size) : 0;
}

void fake_write(uint64_t addr, uint64_t val, unsigned int size)
{
	struct device *dev = device_find(addr);

	if (dev)
		dev->ops->write(dev, addr - dev->base, val, size);
}
