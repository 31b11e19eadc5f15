// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-blk: Virtual I/O Device Version 1.2, section 5.2.  The disk is in
 * memory, so that the VMM can fill and check it on the host's side; and its
 * requests can be held, so that many are under way at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "virtio.h"

#define SECTOR		512U
/* header and status need a descriptor each */
#define MAX_SEGMENTS	(VIRTIO_QUEUE_MAX - 2)

#define F_SEG_MAX	(1ULL << 2)
#define F_BLK_SIZE	(1ULL << 6)
#define F_FLUSH		(1ULL << 9)

#define T_IN		0
#define T_OUT		1
#define T_FLUSH		4
#define T_GET_ID	8

#define S_OK		0
#define S_IOERR		1
#define S_UNSUPP	2

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct disk {
	struct virtio_device vdev;
	char name[32];
	uint8_t *data;
	uint64_t sectors;
	uint32_t block, segments;
	bool held;
	enum disk_mode mode;
	uint64_t done, moved, most;
};

static struct disk disks[MAX_DISKS];

static struct disk *to_disk(struct virtio_device *vdev)
{
	return (struct disk *)((char *)vdev - offsetof(struct disk, vdev));
}

/* Bytes of @req that the device may write, or those that it may read */
static uint64_t request_len(const struct virtio_request *req, bool writable)
{
	uint64_t len = 0;
	unsigned int i;

	for (i = 0; i < req->nr_parts; i++)
		if (req->part[i].writable == writable)
			len += req->part[i].len;
	return len;
}

/*
 * Moves @len bytes at @offset of the request's writable, or readable, bytes.
 * How they are spread over descriptors is the driver's affair (2.7.4).
 */
static int request_copy(struct disk *disk, const struct virtio_request *req,
			const char *what, bool writable, uint64_t offset,
			void *buf, uint64_t len)
{
	const struct virtio_part *part;
	uint8_t *p = buf;
	int err = 0;

	for (part = req->part; len && part < req->part + req->nr_parts; part++) {
		uint64_t chunk;

		if (part->writable != writable)
			continue;
		if (offset >= part->len) {
			offset -= part->len;
			continue;
		}
		chunk = part->len - offset;
		if (chunk > len)
			chunk = len;
		if (writable)
			err = guest_write(&disk->vdev.dev, what,
					  part->addr + offset, p, chunk);
		else
			err = guest_read(&disk->vdev.dev, what,
					 part->addr + offset, p, chunk);
		if (err) {
			virtio_broken(&disk->vdev, "cannot %s a request's %s at %#"
				      PRIx64 ": %s", writable ? "write" : "read",
				      what, part->addr + offset,
				      err == -EACCES ? "a private page" : "not memory");
			return err;
		}
		p += chunk;
		len -= chunk;
		offset = 0;
	}
	return 0;
}

/**
 * disk_data - a disk's contents
 * @disk: the disk
 * @sector: the first
 * @sectors: how many
 *
 * Return: the memory that holds them, or NULL if the disk does not reach there.
 */
void *disk_data(struct disk *disk, uint64_t sector, uint64_t sectors)
{
	if (sectors > disk->sectors || sector > disk->sectors - sectors)
		return NULL;
	return disk->data + sector * SECTOR;
}

/* Return: 0, or a negative errno if the queue is broken */
static int handle(struct disk *disk, const struct virtio_request *req)
{
	uint64_t readable = request_len(req, false);
	uint64_t writable = request_len(req, true), bytes = 0;
	uint8_t status = S_OK;
	struct header h;
	bool in = false;
	void *data;
	int err;

	if (readable < sizeof(h) || !writable || writable > UINT32_MAX) {
		virtio_broken(&disk->vdev, "a request of %" PRIu64 " bytes to read and %"
			      PRIu64 " to write", readable, writable);
		return -EINVAL;
	}
	err = request_copy(disk, req, "header", false, 0, &h, sizeof(h));
	if (err)
		return err;
	switch (h.type) {
	case T_IN:
	case T_OUT:
		in = h.type == T_IN;
		bytes = in ? writable - 1 : readable - sizeof(h);
		data = disk_data(disk, h.sector, bytes / SECTOR);
		if (!data || bytes % SECTOR) {
			status = S_IOERR;
			bytes = 0;
			break;
		}
		if (disk->mode == DISK_FAILS || disk->mode == DISK_LIES)
			bytes = 0;
		else if (disk->mode == DISK_SHORT)
			bytes /= 2;
		if (disk->mode == DISK_FAILS || disk->mode == DISK_SHORT)
			status = S_IOERR;
		err = request_copy(disk, req, "data", in, in ? 0 : sizeof(h),
				   data, bytes);
		disk->moved += bytes / SECTOR;
		break;
	case T_FLUSH:
		break;
	case T_GET_ID:
		/* 5.2.6: 20 bytes, padded with zeroes */
		in = true;
		bytes = writable - 1 < 20 ? writable - 1 : 20;
		err = request_copy(disk, req, "data", true, 0, disk->name, bytes);
		break;
	default:
		status = S_UNSUPP;
	}
	if (!err)
		err = request_copy(disk, req, "status", true, writable - 1,
				   &status, 1);
	if (err)
		return err;
	disk->done++;
	return virtio_complete(&disk->vdev, req->head, in ? bytes + 1 : 1);
}

static void blk_notify(struct virtio_device *vdev)
{
	struct disk *disk = to_disk(vdev);
	struct virtio_request req;
	uint64_t batch = 0;

	while (!disk->held && virtio_next(vdev, &req) == 1) {
		if (handle(disk, &req))
			return;
		batch++;
	}
	if (batch > disk->most)
		disk->most = batch;
	if (batch)
		virtio_interrupt(vdev);
}

static void blk_reset(struct virtio_device *vdev)
{
	struct disk *disk = to_disk(vdev);
	uint64_t before = disk->done;

	/* Up to now nobody has told the disk that the kernel is no more */
	if (disk->held && mailbox_kernel_crashed()) {
		disk_hold(disk, false);
		report("disk %s: %" PRIu64 " requests of the kernel that has crashed are done",
		       disk->name, disk->done - before);
	}
	disk->held = false;
	disk->mode = DISK_GOOD;
}

static uint64_t blk_config(struct virtio_device *vdev, uint64_t offset,
			   unsigned int size)
{
	/* 5.2.4: capacity in sectors, size_max, seg_max ... */
	struct {
		uint64_t capacity;
		uint32_t size_max, seg_max, geometry, blk_size;
	} config = {
		.capacity = to_disk(vdev)->sectors,
		.seg_max = to_disk(vdev)->segments,
		.blk_size = to_disk(vdev)->block,
	};
	uint64_t val = 0;

	if (offset <= sizeof(config) && size <= sizeof(config) - offset)
		memcpy(&val, (char *)&config + offset, size);
	return val;
}

static const struct virtio_ops blk_ops = {
	.notify = blk_notify,
	.reset = blk_reset,
	.config = blk_config,
};

/**
 * disk_init - add a disk, all zeroes
 * @nr: which, 0 to MAX_DISKS - 1
 * @name: for reports, and the disk's serial
 * @sectors: of 512 bytes
 * @block: bytes of a logical block, which the driver is not to go below
 * @segments: that a request's data may have, or 0 for MAX_SEGMENTS
 *
 * Return: 0 or a negative errno.
 */
int disk_init(unsigned int nr, const char *name, uint64_t sectors,
	      uint32_t block, uint32_t segments)
{
	struct disk *disk;

	if (nr >= MAX_DISKS || !sectors || sectors > SIZE_MAX / SECTOR ||
	    segments > MAX_SEGMENTS)
		return -EINVAL;
	disk = disks + nr;
	disk->data = mmap(NULL, sectors * SECTOR, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (disk->data == MAP_FAILED) {
		disk->data = NULL;
		return -errno;
	}
	snprintf(disk->name, sizeof(disk->name), "%s", name);
	disk->sectors = sectors;
	disk->block = block;
	disk->segments = segments ?: MAX_SEGMENTS;
	disk->vdev.dev.name = disk->name;
	disk->vdev.id = 2;
	disk->vdev.features = F_SEG_MAX | F_FLUSH | F_BLK_SIZE;
	disk->vdev.ops = &blk_ops;
	return virtio_init(&disk->vdev, nr);
}

/* disk_get - disk @nr, or NULL */
struct disk *disk_get(uint64_t nr)
{
	return nr < MAX_DISKS && disks[nr].data ? disks + nr : NULL;
}

/* disk_hold - leave the disk's requests in the queue, or do them now */
void disk_hold(struct disk *disk, bool hold)
{
	disk->held = hold;
	if (virtio_usable(&disk->vdev))
		blk_notify(&disk->vdev);
}

/* disk_mode - have the disk do requests for data badly, or well again */
void disk_mode(struct disk *disk, enum disk_mode mode)
{
	disk->mode = mode;
}

/* disk_stats - requests done, sectors moved, most requests done at once */
void disk_stats(struct disk *disk, uint64_t stats[3])
{
	stats[0] = disk->done;
	stats[1] = disk->moved;
	stats[2] = disk->most;
}

/**
 * disk_queue - where the disk's queue is
 * @disk: the disk
 * @parts: for address and bytes of descriptors, available ring and used ring,
 *	which is their order in struct virtio_queue, too; sizes are those of 2.7
 *
 * Return: whether there is one.
 */
bool disk_queue(struct disk *disk, uint64_t parts[6])
{
	const struct virtio_queue *q = &disk->vdev.queue;

	parts[0] = q->desc;
	parts[1] = 16 * q->size;
	parts[2] = q->avail;
	parts[3] = 6 + 2 * q->size;
	parts[4] = q->used;
	parts[5] = 6 + 8 * q->size;
	return q->ready;
}
