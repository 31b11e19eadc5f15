/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "vmm.h"

/*
 * The largest queue offered.  A request may be as long as the queue or one
 * indirect table of as many descriptors, as the specification asks (2.7.5.3.1).
 */
#define VIRTIO_QUEUE_MAX	128

/* One part of a request, in guest memory */
struct virtio_part {
	uint64_t addr;
	uint32_t len;
	bool writable;		/* by the device */
};

struct virtio_request {
	uint16_t head;
	unsigned int nr_parts;
	struct virtio_part part[VIRTIO_QUEUE_MAX];
};

/* A split virtqueue (Virtual I/O Device Version 1.2, 2.7) */
struct virtio_queue {
	uint32_t size;
	bool ready;
	uint64_t desc, avail, used;	/* guest physical addresses */
	uint16_t next_avail, next_used;
};

struct virtio_device;

struct virtio_ops {
	/* there may be new requests, see virtio_next() */
	void (*notify)(struct virtio_device *vdev);
	/* forget all about requests */
	void (*reset)(struct virtio_device *vdev);
	uint64_t (*config)(struct virtio_device *vdev, uint64_t offset,
			   unsigned int size);
};

/* A device with one queue */
struct virtio_device {
	struct device dev;
	uint32_t id;			/* 5: specification */
	uint64_t features;
	const struct virtio_ops *ops;

	uint64_t driver_features;
	uint32_t features_sel, driver_features_sel, queue_sel;
	uint32_t status, interrupt;
	struct virtio_queue queue;
};

int virtio_init(struct virtio_device *vdev, unsigned int slot);
int virtio_next(struct virtio_device *vdev, struct virtio_request *req);
int virtio_complete(struct virtio_device *vdev, uint16_t head, uint32_t len);
void virtio_interrupt(struct virtio_device *vdev);
void virtio_broken(struct virtio_device *vdev, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
bool virtio_usable(const struct virtio_device *vdev);

#endif
