/* The guests' images, as they lie in the build folder. */
	.macro image name
	.globl guest_image_\name, guest_image_\name\()_end
guest_image_\name:
	.incbin "\name\().bin"
guest_image_\name\()_end:
	.endm

	.section .rodata
	image run
	image access
	image event
	image blk
	image attack
	image exits
	image ping
	image kernel
	.section .note.GNU-stack, "", @progbits
