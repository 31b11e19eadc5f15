/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TESTS_H
#define TESTS_H

#include <stddef.h>

int read_file(const char *path, char *buf, size_t size);
int find_disk(const char *name, char *path, size_t size);

/* Groups of tests.  Return: how many failed, each reported by box_result(). */
int test_boot(void);
int test_dma_pool(void);
int test_dma_plain(void);
int test_dma_own(void);
int test_blk(void);
int test_log(void);
int test_hang(void);
int test_panic(void);

#endif
