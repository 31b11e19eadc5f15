/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TESTS_H
#define TESTS_H

#include <stddef.h>

int read_file(const char *path, char *buf, size_t size);
int find_log(const char *text, char *line, size_t size);
int find_disk(const char *name, char *path, size_t size);
int load_module(const char *path);
void save_log(void);
void write_to(const char *path, const char *text);
void shrink_caches(void);

/* The driver's devices, of dma_test.c */
struct testbed_op;
int device_open(const char *name);
int op_ioctl(int dev, unsigned long cmd, struct testbed_op *op);
int device_pass_data(int dev, struct testbed_op *op);
struct testbed_bench;
int device_bench(int dev, struct testbed_bench *bench);

/*
 * Return: how many tests failed, each reported by box_result(); negative: this
 * kernel does not run the groups that follow.
 */
int test_boot(const char *group);
int test_dma(const char *group);
int test_blk(const char *group);
int test_blk_limit(const char *group);
int test_blk_secrets(const char *group);
int test_secrets(const char *group);
int test_load(const char *group);
int test_faults(const char *group);
int test_sanitizers(const char *group);
int test_bench(const char *group);
void bench_booted(void);
int test_kselftest(const char *group);
int test_kexec(const char *group);
int test_second(const char *group);

#endif
