/* A guest without an operating system: writes to every page of its memory, says "TOUCHED" on COM1, and idles.
   With "loop" on its command line it goes on writing. A multiboot ELF for QEMU's -kernel; as a PVH guest of Xen, which
   has all its memory when it starts, it only idles. */
        .code32
        .section .note.Xen, "a", @note
        .long 4, 4, 18                  /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long pvh
        .text
        .set MAGIC, 0x1BADB002
        .set FLAGS, 0x2                 /* with memory information */
        .align 4
        .long MAGIC, FLAGS, -(MAGIC + FLAGS)
        .globl _start
_start: cli
        mov  $stack_top, %esp
        mov  8(%ebx), %ebp              /* mem_upper: KiB above 1 MiB */
        sub  $1024, %ebp                /* we write from 2 MiB on */
        shr  $2, %ebp                   /* in pages */
        xor  %edi, %edi                 /* "loop" was read */
        testl $4, (%ebx)                /* is there a command line? */
        jz   start
        mov  16(%ebx), %esi
read:   mov  (%esi), %eax
        test %al, %al
        jz   start
        inc  %esi
        cmp  $0x706f6f6c, %eax          /* "loop" */
        jne  read
        inc  %edi
start:  mov  $0x200000, %edx
        mov  %ebp, %ecx
page:   incl (%edx)
        add  $4096, %edx
        dec  %ecx
        jnz  page
        cmpl $0, said
        jne  next
        incl said
        mov  $touched, %esi
char:   lodsb
        test %al, %al
        jz   next
        mov  $0x3f8, %dx
        out  %al, %dx
        jmp  char
next:   test %edi, %edi
        jnz  start
idle:   hlt
        jmp  idle
pvh:    sti                             /* Xen ends a guest that halts with interrupts off */
        hlt
        jmp  pvh
        .data
touched: .asciz "TOUCHED\r\n"
said:   .long 0
        .bss
        .space 4096
stack_top:
