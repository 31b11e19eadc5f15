// SPDX-License-Identifier: GPL-2.0
/*
 * virtio over MMIO, version 2, with split queues and indirect descriptors:
 * Virtual I/O Device Version 1.2, sections 4.2 (MMIO) and 2.7 (queues).
 *
 * The guest's rings are input from someone who may be wrong: every index,
 * address and length is checked here, once, and what is wrong makes the device
 * ask for a reset and be reported; it never makes the VMM fail.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "virtio.h"

/* Registers, 4.2.2 */
#define MAGIC_VALUE		0x000
#define VERSION			0x004
#define DEVICE_ID		0x008
#define VENDOR_ID		0x00c
#define DEVICE_FEATURES		0x010
#define DEVICE_FEATURES_SEL	0x014
#define DRIVER_FEATURES		0x020
#define DRIVER_FEATURES_SEL	0x024
#define QUEUE_SEL		0x030
#define QUEUE_NUM_MAX		0x034
#define QUEUE_NUM		0x038
#define QUEUE_READY		0x044
#define QUEUE_NOTIFY		0x050
#define INTERRUPT_STATUS	0x060
#define INTERRUPT_ACK		0x064
#define STATUS			0x070
#define QUEUE_DESC_LOW		0x080
#define QUEUE_DESC_HIGH		0x084
#define QUEUE_DRIVER_LOW	0x090
#define QUEUE_DRIVER_HIGH	0x094
#define QUEUE_DEVICE_LOW	0x0a0
#define QUEUE_DEVICE_HIGH	0x0a4
#define CONFIG_GENERATION	0x0fc
#define CONFIG			0x100

#define STATUS_DRIVER_OK	4
#define STATUS_FEATURES_OK	8
#define STATUS_NEEDS_RESET	64

#define F_INDIRECT_DESC		(1ULL << 28)
#define F_VERSION_1		(1ULL << 32)
/* Makes the driver use the DMA API, which is what the test bed is about */
#define F_ACCESS_PLATFORM	(1ULL << 33)

#define INTERRUPT_USED		1
#define INTERRUPT_CONFIG	2

/* 2.7.5 */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

#define DESC_NEXT	1
#define DESC_WRITE	2
#define DESC_INDIRECT	4

#define AVAIL_NO_INTERRUPT	1

static struct virtio_device *to_virtio(struct device *dev)
{
	return (struct virtio_device *)((char *)dev -
					offsetof(struct virtio_device, dev));
}

/* virtio_usable - has the driver set the device up, and is it still whole? */
bool virtio_usable(const struct virtio_device *vdev)
{
	return (vdev->status & STATUS_DRIVER_OK) &&
	       !(vdev->status & STATUS_NEEDS_RESET) && vdev->queue.ready;
}

/**
 * virtio_broken - the driver has done something that the device cannot go on from
 * @vdev: the device; it does nothing more until it is reset
 * @fmt: what
 *
 * It ends the guest, too: a driver that waits for this device would hang.
 */
void virtio_broken(struct virtio_device *vdev, const char *fmt, ...)
{
	char what[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	vdev->status |= STATUS_NEEDS_RESET;
	vdev->interrupt |= INTERRUPT_CONFIG;
	device_irq(&vdev->dev, true);
	vm_stop(STATUS_CRASH, "%s: %s", vdev->dev.name, what);
}

static int read_ring(struct virtio_device *vdev, const char *what,
		     uint64_t addr, void *buf, size_t len)
{
	int err = guest_read(&vdev->dev, what, addr, buf, len);

	if (err)
		virtio_broken(vdev, "cannot read its %s at %#" PRIx64 ": %s", what,
			      addr, err == -EACCES ? "a private page" : "not memory");
	return err;
}

/* Reads the chain that starts at @index of a table of @count descriptors */
static int read_chain(struct virtio_device *vdev, struct virtio_request *req,
		      uint64_t table, uint32_t count, uint32_t index,
		      bool indirect)
{
	/* As many steps as the table is long, or the chain is a loop */
	uint32_t steps;

	for (steps = 0; steps < count; steps++) {
		struct desc d;
		int err;

		if (index >= count) {
			virtio_broken(vdev, "descriptor %u of a table of %u",
				      index, count);
			return -EINVAL;
		}
		err = read_ring(vdev, indirect ? "indirect table" :
				"descriptor table", table + index * sizeof(d),
				&d, sizeof(d));
		if (err)
			return err;
		if (d.flags & DESC_INDIRECT) {
			/* 2.7.5.3.1: not with NEXT, not within another one */
			if (indirect || (d.flags & DESC_NEXT) ||
			    d.len % sizeof(d) || !d.len ||
			    d.len / sizeof(d) > VIRTIO_QUEUE_MAX) {
				virtio_broken(vdev, "bad indirect descriptor, %u bytes, flags %#x",
					      d.len, d.flags);
				return -EINVAL;
			}
			return read_chain(vdev, req, d.addr,
					  d.len / sizeof(d), 0, true);
		}
		if (req->nr_parts == ARRAY_SIZE(req->part)) {
			virtio_broken(vdev, "a request of more than %u parts",
				      req->nr_parts);
			return -EINVAL;
		}
		req->part[req->nr_parts++] = (struct virtio_part){
			d.addr, d.len, d.flags & DESC_WRITE
		};
		if (!(d.flags & DESC_NEXT))
			return 0;
		index = d.next;
	}
	virtio_broken(vdev, "a request's descriptors form a loop");
	return -EINVAL;
}

/**
 * virtio_next - take the next request from the queue
 * @vdev: the device
 * @req: the request
 *
 * Return: 1 if there was one, 0 if not, a negative errno if the queue is
 * broken, which has been reported then.
 */
int virtio_next(struct virtio_device *vdev, struct virtio_request *req)
{
	struct virtio_queue *q = &vdev->queue;
	uint16_t index, head;
	int err;

	if (!virtio_usable(vdev))
		return 0;
	err = read_ring(vdev, "available ring", q->avail + 2, &index,
			sizeof(index));
	if (err)
		return err;
	if (index == q->next_avail)
		return 0;
	if ((uint16_t)(index - q->next_avail) > q->size) {
		virtio_broken(vdev, "%u requests at once in a queue of %u",
			      (uint16_t)(index - q->next_avail), q->size);
		return -EINVAL;
	}
	err = read_ring(vdev, "available ring",
			q->avail + 4 + 2 * (q->next_avail % q->size), &head,
			sizeof(head));
	if (err)
		return err;
	req->head = head;
	req->nr_parts = 0;
	err = read_chain(vdev, req, q->desc, q->size, head, false);
	if (err)
		return err;
	q->next_avail++;
	return 1;
}

/**
 * virtio_complete - give a request back
 * @vdev: the device
 * @head: the request's
 * @len: bytes that the device has written to it
 *
 * Return: 0 or a negative errno, then the queue is broken.
 */
int virtio_complete(struct virtio_device *vdev, uint16_t head, uint32_t len)
{
	struct virtio_queue *q = &vdev->queue;
	uint32_t element[2] = { head, len };
	uint64_t addr = q->used + 4 + 8 * (q->next_used % q->size);
	int err;

	err = guest_write(&vdev->dev, "used ring", addr, element,
			  sizeof(element));
	if (!err) {
		/* The element before the index that announces it */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		q->next_used++;
		err = guest_write(&vdev->dev, "used ring", q->used + 2,
				  &q->next_used, sizeof(q->next_used));
	}
	if (err)
		virtio_broken(vdev, "cannot write its used ring at %#" PRIx64 ": %s",
			      addr, err == -EACCES ? "a private page" : "not memory");
	return err;
}

/* virtio_interrupt - tell the driver about completed requests, if it likes */
void virtio_interrupt(struct virtio_device *vdev)
{
	uint16_t flags;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (read_ring(vdev, "available ring", vdev->queue.avail, &flags,
		      sizeof(flags)) || (flags & AVAIL_NO_INTERRUPT))
		return;
	vdev->interrupt |= INTERRUPT_USED;
	device_irq(&vdev->dev, true);
}

static void reset(struct virtio_device *vdev)
{
	vdev->ops->reset(vdev);
	vdev->status = 0;
	vdev->driver_features = 0;
	vdev->features_sel = 0;
	vdev->driver_features_sel = 0;
	vdev->queue_sel = 0;
	vdev->interrupt = 0;
	memset(&vdev->queue, 0, sizeof(vdev->queue));
	vdev->queue.size = VIRTIO_QUEUE_MAX;
	device_irq(&vdev->dev, false);
}

static void set_status(struct virtio_device *vdev, uint32_t status)
{
	if (!status) {
		reset(vdev);
		return;
	}
	/* 2.2.2: no FEATURES_OK for features that do not fit together */
	if ((status & STATUS_FEATURES_OK) &&
	    ((vdev->driver_features & ~vdev->features) ||
	     !(vdev->driver_features & F_VERSION_1)))
		status &= ~STATUS_FEATURES_OK;
	vdev->status = status | (vdev->status & STATUS_NEEDS_RESET);
}

static void set_half(uint64_t *reg, bool high, uint32_t val)
{
	*reg = high ? (*reg & 0xffffffff) | (uint64_t)val << 32 :
		      (*reg & ~0xffffffffULL) | val;
}

static uint64_t virtio_mmio_read(struct device *dev, uint64_t offset,
				 unsigned int size)
{
	struct virtio_device *vdev = to_virtio(dev);

	if (offset >= CONFIG)
		return vdev->ops->config(vdev, offset - CONFIG, size);
	switch (offset) {
	case MAGIC_VALUE:
		return 0x74726976;	/* "virt" */
	case VERSION:
		return 2;
	case DEVICE_ID:
		return vdev->id;
	case VENDOR_ID:
		return 0x74736574;	/* "test" */
	case DEVICE_FEATURES:
		return vdev->features_sel > 1 ? 0 : (uint32_t)
			(vdev->features >> 32 * vdev->features_sel);
	case QUEUE_NUM_MAX:
		return vdev->queue_sel ? 0 : VIRTIO_QUEUE_MAX;
	case QUEUE_READY:
		return !vdev->queue_sel && vdev->queue.ready;
	case INTERRUPT_STATUS:
		return vdev->interrupt;
	case STATUS:
		return vdev->status;
	case CONFIG_GENERATION:
		return 0;
	}
	return 0;
}

static void virtio_mmio_write(struct device *dev, uint64_t offset,
			      uint64_t val, unsigned int size)
{
	struct virtio_device *vdev = to_virtio(dev);
	struct virtio_queue *q = &vdev->queue;

	(void)size;
	switch (offset) {
	case DEVICE_FEATURES_SEL:
		vdev->features_sel = val;
		return;
	case DRIVER_FEATURES:
		if (vdev->driver_features_sel <= 1)
			set_half(&vdev->driver_features,
				 vdev->driver_features_sel, val);
		return;
	case DRIVER_FEATURES_SEL:
		vdev->driver_features_sel = val;
		return;
	case QUEUE_SEL:
		vdev->queue_sel = val;
		return;
	case QUEUE_NOTIFY:
		if (!val && virtio_usable(vdev))
			vdev->ops->notify(vdev);
		return;
	case INTERRUPT_ACK:
		vdev->interrupt &= ~val;
		device_irq(dev, vdev->interrupt);
		return;
	case STATUS:
		set_status(vdev, val);
		return;
	}
	/* There is one queue */
	if (vdev->queue_sel)
		return;
	if (offset == QUEUE_READY) {
		q->ready = val & 1;
		return;
	}
	/* 4.2.2.2: the rest may not change while the queue is in use */
	if (q->ready)
		return;
	switch (offset) {
	case QUEUE_NUM:
		if (!val || val > VIRTIO_QUEUE_MAX || (val & (val - 1)))
			virtio_broken(vdev, "a queue of %u", (uint32_t)val);
		else
			q->size = val;
		break;
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
		set_half(&q->desc, offset == QUEUE_DESC_HIGH, val);
		break;
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
		set_half(&q->avail, offset == QUEUE_DRIVER_HIGH, val);
		break;
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH:
		set_half(&q->used, offset == QUEUE_DEVICE_HIGH, val);
		break;
	}
}

static void virtio_describe(struct device *dev, char *buf, size_t size)
{
	struct virtio_device *vdev = to_virtio(dev);
	struct virtio_queue *q = &vdev->queue;
	uint16_t index = 0;

	/* Only a queue in use is worth a read, which is reported if it fails */
	if (virtio_usable(vdev))
		guest_read(dev, "available ring", q->avail + 2, &index,
			   sizeof(index));
	snprintf(buf, size, "status %#x, queue of %u at %#" PRIx64
		 ": %u requests taken, %u done, %u offered", vdev->status,
		 q->size, q->desc, q->next_avail, q->next_used, index);
}

static const struct device_ops virtio_mmio_ops = {
	.read = virtio_mmio_read,
	.write = virtio_mmio_write,
	.describe = virtio_describe,
};

/**
 * virtio_init - put a device on the bus
 * @vdev: with its name, id, features of its kind, and ops
 * @slot: 0 to MAX_DISKS - 1, says where in memory and which interrupt
 *
 * Return: 0 or a negative number.
 */
int virtio_init(struct virtio_device *vdev, unsigned int slot)
{
	vdev->features |= F_VERSION_1 | F_ACCESS_PLATFORM | F_INDIRECT_DESC;
	vdev->queue.size = VIRTIO_QUEUE_MAX;
	vdev->dev.base = VIRTIO_BASE + slot * PAGE_SIZE;
	vdev->dev.size = PAGE_SIZE;
	vdev->dev.irq = VIRTIO_IRQ + slot;
	vdev->dev.ops = &virtio_mmio_ops;
	return device_add(&vdev->dev);
}
