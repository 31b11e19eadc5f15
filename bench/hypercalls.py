#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""hypercalls.py KERNEL SOCKET OUT: counts the guest's hypercalls in a QEMU that waits for a debugger on SOCKET.

A breakpoint on each hvc instruction of the guest's kernel says what is asked for, one behind it what was answered. The
host's kernel is linked to the same addresses, so what stands at a breakpoint tells whose it is. Hypercalls that the
driver makes (TESTBED_ROW in testbed/driver/testbed.h) say which row of the bench those that follow belong to.

OUT is JSON: for 'boot', which ends with the first row, for each row, and 'between' these or by other threads meanwhile: how
many pages were shared and made private, how many of these hypercalls the hypervisor refused, how many were for a page that was
in that state already, and others; how many pages were shared at most meanwhile, and how many in its end.
"""
import collections
import json
import os
import re
import socket
import subprocess
import sys
import time

HVC = 0xd4000002
SHARE, UNSHARE = 0xc6000003, 0xc6000004  # ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID and MEM_UNSHARE
ROW, ROW_MAGIC, ROW_ENDS = 0x86000000, 0x62656e6368000000, 0x10000
SP, PC, PSTATE = 31, 32, 33
STACK = 16384  # of a thread
FOR_MODULES = '__arm_smccc_hvc'


class Gone(Exception):
    """QEMU has ended."""


class Debugger:
    """What is needed of gdb's remote protocol."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.buffer = b''
        self.stops = collections.Counter()
        # It is there when QEMU is; the step has a time-out of its own for the rest
        for _ in range(6000):
            try:
                self.socket.connect(path)
                return
            except OSError:
                time.sleep(0.1)
        sys.exit(f'hypercalls: nobody listens on {path}')

    def receive(self):
        while True:
            found = re.search(rb'\$([^#]*)#..', self.buffer)
            if found:
                self.buffer = self.buffer[found.end():]
                self.write(b'+')
                return found[1].decode('latin-1')
            try:
                more = self.socket.recv(65536)
            except OSError:
                more = b''
            if not more:
                raise Gone
            self.buffer += more

    def write(self, packet):
        try:
            self.socket.sendall(packet)
        except OSError as error:
            raise Gone from error

    def send(self, text):
        self.write(b'$%s#%02x' % (text.encode(), sum(text.encode()) % 256))

    def ask(self, text):
        self.send(text)
        return self.receive()

    def word(self, address):
        """The instruction at an address, or None."""
        answer = self.ask(f'm{address:x},4')
        return int.from_bytes(bytes.fromhex(answer), 'little') if len(answer) == 8 else None

    def registers(self):
        """x0 to x30, sp, the PC and, of 4 bytes, the state of the processor."""
        raw = bytes.fromhex(self.ask('g')[:33 * 16 + 8])
        return [int.from_bytes(raw[i:i + 8], 'little') for i in range(0, len(raw), 8)]

    def stop_at(self, addresses, yes=True):
        """Breakpoints there, or none any more, as many times as there were."""
        for address in addresses:
            self.stops[address] += 1 if yes else -1
            if self.stops[address] == yes and self.ask(f'{"Z" if yes else "z"}0,{address:x},4') != 'OK':
                sys.exit('hypercalls: QEMU takes no breakpoint')

    def go(self, how):
        """Lets it run until it stops.  Return: False if it has ended."""
        answer = self.ask(how)
        # A thread's number and the like may come with it
        return answer[0] in 'ST'


def disassemble(path):
    return subprocess.run(['aarch64-linux-gnu-objdump', '-d', path], stdout=subprocess.PIPE,
                          text=True, check=True).stdout


def find_hypercalls(kernel):
    """{address: function} of each hvc of the driver that shares memory, and of that by which modules call, FOR_MODULES."""
    driver = disassemble(os.path.join(kernel, 'drivers/virt/coco/pkvm-guest/arm-pkvm-guest.o'))
    functions = set(re.findall(r'^[0-9a-f]+ <(.*)>:', driver, re.M)) | {FOR_MODULES}
    found, function = {}, None
    for line in disassemble(os.path.join(kernel, 'vmlinux')).splitlines():
        name = re.match(r'[0-9a-f]+ <(.*)>:', line)
        if name:
            function = name[1]
        elif function in functions and ':\td4000002 ' in line:
            found[int(line.split(':')[0], 16)] = function
    return found


def row_of(function, address):
    """The row that a hypercall of the driver's says begins, 'between' where one ends, None if it is another hypercall."""
    if function != ROW or address & ~0xffffff != ROW_MAGIC:
        return None
    return 'between' if address & ROW_ENDS else str(address & 0xffff)


def new_count(pages):
    return {'shared': 0, 'unshared': 0, 'refused': 0, 'redundant': 0, 'others': 0, 'most pages': pages, 'pages': pages}


def main(kernel, path, out):
    calls = set(find_hypercalls(kernel))
    if not calls:
        sys.exit(f'hypercalls: no hvc in {kernel}')
    qemu = Debugger(path)
    qemu.stop_at(calls | {a + 4 for a in calls})
    counts = {'boot': new_count(0)}
    where, thread = 'boot', None
    shared = set()
    # By stack as well: before an answer is seen, another thread may run and ask
    asked = {}
    stops = 0
    try:
        running = qemu.go('c')
        while running:
            stops += 1
            registers = qemu.registers()
            pc, stack = registers[PC], registers[SP] // STACK
            answered = asked.pop((stack, pc - 4), None)
            if answered:
                function, address = answered
                ok = registers[0] == 0
                if function in (SHARE, UNSHARE):
                    count = counts[where if thread in (None, stack) else 'between']
                    count['shared' if function == SHARE else 'unshared'] += 1
                    count['refused'] += not ok
                    count['redundant'] += (address in shared) == (function == SHARE)
                    if ok:
                        (shared.add if function == SHARE else shared.discard)(address)
                    count['pages'] = len(shared)
                    count['most pages'] = max(count['most pages'], len(shared))
                elif row_of(function, address):
                    where, thread = row_of(function, address), stack
                    counts.setdefault('between', new_count(len(shared)))
                    counts.setdefault(where, new_count(len(shared)))
                else:
                    counts[where]['others'] += 1
            if pc in calls and qemu.word(pc) == HVC:
                asked[stack, pc] = registers[0] & 0xffffffff, registers[1]
            running = qemu.go('s') and qemu.go('c')
    except Gone:
        pass
    with open(out, 'w') as f:
        json.dump({'stops': stops, 'counts': counts, 'pages shared in the end': len(shared)}, f, indent=1)
        f.write('\n')


if __name__ == '__main__':
    main(*sys.argv[1:])
