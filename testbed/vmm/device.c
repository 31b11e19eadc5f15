// SPDX-License-Identifier: GPL-2.0
/* The devices and where they are */
#include "vmm.h"

static struct device *devices[MAX_DISKS + 4];
static unsigned int nr_devices;

/* device_add - Return: 0, or -1 if there is no room */
int device_add(struct device *dev)
{
	if (nr_devices == ARRAY_SIZE(devices))
		return -1;
	devices[nr_devices++] = dev;
	return 0;
}

/* device_find - the device that answers at a guest physical address, or NULL */
struct device *device_find(uint64_t addr)
{
	unsigned int i;

	for (i = 0; i < nr_devices; i++)
		if (addr >= devices[i]->base &&
		    addr - devices[i]->base < devices[i]->size)
			return devices[i];
	return NULL;
}

/* device_next - the device after @dev; the first one for NULL */
struct device *device_next(struct device *dev)
{
	unsigned int i = 0;

	while (dev && i < nr_devices && devices[i++] != dev)
		;
	return i < nr_devices ? devices[i] : NULL;
}
