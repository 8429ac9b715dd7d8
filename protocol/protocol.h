/*
 * The control protocol (docs/protocol.md): what the VMM and the runtime on the host and the agent
 * in the guest say to each other. Frames on a stream: a fixed header, then a body. All integers
 * are little-endian. The same frames travel
 *
 *	agent   <-> VMM      on one vsock connection, opened by the agent to PROTO_PORT_CONTROL
 *	runtime <-> VMM      on the control socket in the container's state folder
 *
 * The VMM answers STATUS itself and relays the rest without looking into bodies. OCI documents
 * travel as the JSON they are; everything else is one of the fixed structs below.
 *
 * stdio never travels in frames. For each stream of a process the agent opens a vsock connection
 * of its own to proto_stdio_port(process, stream); the VMM joins it to the container's descriptors.
 */
#ifndef PROTOCOL_PROTOCOL_H
#define PROTOCOL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROTO_VERSION  2
#define PROTO_MAGIC    0x314b4c42u /* "BLK1" */
#define PROTO_BODY_MAX (1u << 20)  /* bytes; an OCI config with a large seccomp filter fits */
#define PROTO_TEXT_MAX 4096	   /* bytes of an error message */

/* The virtio-fs device with everything that is shared: share N is the entry N of its root. */
#define PROTO_SHARES_TAG "bulkhead"

#define PROTO_PORT_CONTROL 1024
/* Each connection goes on to the DNS of the container's network namespace, by TCP. */
#define PROTO_PORT_RESOLVER    1025
#define PROTO_RESOLVER_ADDRESS 0x7f00000bu /* 127.0.0.11, docker's; in either's namespace */
#define PROTO_RESOLVER_PORT    53
#define PROTO_PORT_STDIO       2048

/* Processes of the container. Its init is 0; the VMM numbers those of exec from 1. */
#define PROTO_PROCESS_INIT 0
#define PROTO_PROCESS_MAX  256

enum proto_stream { PROTO_STDIN, PROTO_STDOUT, PROTO_STDERR, PROTO_STREAMS };

static inline uint32_t proto_stdio_port(uint32_t process, enum proto_stream stream)
{
	return PROTO_PORT_STDIO + process * PROTO_STREAMS + (uint32_t)stream;
}

enum proto_type {
	/*
	 * agent -> VMM, first frame: struct proto_hello, id 0. The VMM answers with its own;
	 * versions must be equal.
	 */
	PROTO_HELLO = 1,

	/*
	 * VMM -> agent, first of all in a machine that goes on from a saved one: struct
	 * proto_resumed. It has to be a machine of its own before anything else happens in it.
	 */
	PROTO_RESUMED = 2,

	/* Requests, runtime -> VMM (-> agent). Each gets one OK or ERROR with the same id. */
	PROTO_CREATE = 16, /* JSON, see docs/protocol.md; process 0 waits before its exec */
	PROTO_START,	   /* no body: process 0 goes on; to an agent that resumed: proto_time */
	/*
	 * struct proto_exec, then JSON: {"process": OCI process}. Comes to the VMM with
	 * descriptors: three for the streams, or one of a terminal. OK carries struct
	 * proto_process. EXITED follows on the same connection, whose end ends the process.
	 */
	PROTO_EXEC,
	PROTO_SIGNAL,	/* struct proto_signal */
	PROTO_WAIT,	/* struct proto_process; OK carries struct proto_exited when it ended */
	PROTO_RESIZE,	/* struct proto_resize */
	PROTO_SHUTDOWN, /* no body: sync and power off; the agent answers OK first */
	PROTO_STATUS,	/* no body, answered by the VMM: OK carries struct proto_status */
	PROTO_ATTACH,	/* struct proto_attach, parameters; answered by the VMM, see below */
	PROTO_NETWORK,	/* JSON, see docs/network.md: what the interfaces are given */
	PROTO_PS,	/* no body; OK carries what ps.h describes */
	PROTO_STATS,	/* no body; OK carries what stats.h describes */
	PROTO_FREEZE, /* struct proto_freeze; OK once all of the container has stopped or goes on */
	/*
	 * JSON: {"resources": OCI linux.resources}; "root": "changed": on the host, the names that
	 * the guest remembers of it are looked for again.
	 */
	PROTO_UPDATE,
	PROTO_HOLDERS, /* no body, answered by the VMM: OK carries uint32_t pids on the host */
	PROTO_EVENTS,  /* no body, answered by the VMM: from now on OOM events come here */
	PROTO_REQUEST_LAST = PROTO_EVENTS,

	/* More requests. */
	PROTO_COUNTERS =
		64, /* no body, answered by the VMM: OK carries what counters.h describes */
	/*
	 * A snapshot; both answered by the VMM. HOLD, no body: OK once the machine rests, which it
	 * does as long as this connection stands. SAVE, no body: from the same client, with
	 * descriptors: an empty file for the state, one of the right length for the memory, and for
	 * a machine that came from a template one with a bit for each page that is its own.
	 */
	PROTO_HOLD,
	PROTO_SAVE,

	/* Replies. */
	PROTO_OK = 32,
	PROTO_ERROR, /* struct proto_error, then text without a terminator */

	/* Events, agent -> VMM, id 0. */
	PROTO_EXITED = 48, /* struct proto_exited: sent once all output of the process has left */
	PROTO_OOM,	   /* struct proto_oom: the guest's kernel has killed for want of memory */
};

struct proto_header {
	uint32_t magic;
	uint32_t body_len; /* bytes, at most PROTO_BODY_MAX */
	uint16_t type;
	uint16_t fds; /* descriptors that come with it by SCM_RIGHTS; 0 from the guest */
	uint32_t id;  /* chosen by who asks, not 0; repeated in the reply */
} __attribute__((packed));

struct proto_hello {
	uint32_t version;
	uint32_t reserved;
	uint64_t uptime_ns; /* CLOCK_BOOTTIME at the sender's start; 0 from the host */
} __attribute__((packed));

struct proto_process {
	uint32_t process;
} __attribute__((packed));
/*
 * ATTACH hands a back end to a device that the running VMM has a slot for; only who reaches the
 * control socket can. What each kind's descriptors and parameters are stands at the kind.
 * Descriptors that nobody takes are closed.
 */
enum proto_attach_kind {
	/* NIC number index. Descriptors: as for net_attach (devices/net.h). No parameters. */
	PROTO_ATTACH_NET = 1,
	/* How fast a NIC, or a disk, may be. No descriptors. Parameters: struct proto_rates. */
	PROTO_ATTACH_NET_RATES,
	PROTO_ATTACH_DISK_RATES,
	/* One descriptor: the link of vmm/resolver.h. Index 0, no parameters. */
	PROTO_ATTACH_RESOLVER,
	/*
	 * One descriptor: the end of a pipe out of which lines come that belong in the log. Index
	 * 0, no parameters.
	 */
	PROTO_ATTACH_LOG,
	/*
	 * How much memory the guest is to have beyond what it booted with. Index 0, no descriptors.
	 * Parameters: uint64_t, bytes. What it has got of it STATUS says.
	 */
	PROTO_ATTACH_MEMORY,
};

struct proto_attach {
	uint32_t kind;
	uint32_t index; /* of the device among those of its kind */
} __attribute__((packed));

struct proto_time {
	uint64_t realtime_ns; /* CLOCK_REALTIME of the host */
	uint64_t memory_more; /* bytes that the guest has to have got since it booted */
} __attribute__((packed));

/* In: what a NIC receives, what is read from a disk. */
enum proto_rate_of {
	PROTO_RATE_BYTES_IN,
	PROTO_RATE_OPERATIONS_IN,
	PROTO_RATE_BYTES_OUT,
	PROTO_RATE_OPERATIONS_OUT,
	PROTO_RATES,
};

struct proto_rates {
	struct proto_rate {
		uint64_t per_second; /* 0: no limit */
		uint64_t burst;	     /* 0: as many as in a second */
	} __attribute__((packed)) rates[PROTO_RATES];
} __attribute__((packed));

#define PROTO_ENTROPY_LEN 64

struct proto_resumed {
	uint64_t realtime_ns; /* CLOCK_REALTIME of the host */
	uint8_t entropy[PROTO_ENTROPY_LEN];
} __attribute__((packed));

struct proto_exec {
	uint32_t process; /* chosen by the VMM, 0 from the runtime */
	uint32_t holder;  /* pid on the host of who stands for it; the agent is told 0 */
} __attribute__((packed));

struct proto_freeze {
	uint32_t frozen; /* 0 or 1 */
} __attribute__((packed));

struct proto_oom {
	uint64_t kills; /* so far */
} __attribute__((packed));

#define PROTO_SIGNAL_ALL 1u /* to every process of the container */

struct proto_signal {
	uint32_t process;
	uint32_t signal; /* 1..64 */
	uint32_t flags;	 /* PROTO_SIGNAL_ALL */
} __attribute__((packed));

struct proto_resize {
	uint32_t process;
	uint16_t rows;
	uint16_t columns;
} __attribute__((packed));

struct proto_exited {
	uint32_t process;
	uint32_t status; /* as waitpid gives it: WIFEXITED, WTERMSIG, ... */
} __attribute__((packed));

struct proto_error {
	uint32_t code; /* errno, positive */
} __attribute__((packed));

enum proto_state {
	PROTO_STATE_CREATING = 1, /* booting, or CREATE is not answered yet */
	PROTO_STATE_CREATED,
	PROTO_STATE_RUNNING,
	PROTO_STATE_STOPPED, /* the workload has ended, its output may still be draining */
	PROTO_STATE_PAUSED,  /* created or running, and frozen */
};

/* What became of the template that the VMM was given. */
enum proto_template_use {
	PROTO_TEMPLATE_NONE, /* none was given */
	PROTO_TEMPLATE_USED,
	PROTO_TEMPLATE_REFUSED, /* it did not fit: the VM has booted instead */
};

/* Moments of start-up: CLOCK_MONOTONIC of the host in ns, 0 while not reached. */
struct proto_status {
	uint32_t state;
	uint32_t exit_status; /* valid when stopped */
	uint64_t vmm_started_ns;
	uint64_t vm_created_ns;
	uint64_t kernel_entered_ns; /* first KVM_RUN */
	uint64_t agent_ready_ns;    /* HELLO was read */
	uint64_t created_ns;
	uint64_t started_ns;
	uint32_t template_use; /* enum proto_template_use */
	uint32_t reserved;
	uint64_t oom_kills;
	/*
	 * In bytes: what it booted with, what there is room for beside that, how far into the room
	 * there is something, what is to come, and has come.
	 */
	uint64_t memory_boot;
	uint64_t memory_room;
	uint64_t memory_grown;
	uint64_t memory_requested;
	uint64_t memory_plugged;
} __attribute__((packed));

/* Wire order. Structs above hold host order in memory and are converted by the codec. */

/* Descriptors of one frame, and of those that a reader holds until their frame is whole. */
#define PROTO_FDS_MAX 32

/*
 * Reads frames out of a byte stream, in any pieces it comes in. The bytes are hostile.
 * A reader owns a buffer that grows to the largest frame seen, at most PROTO_BODY_MAX, and the
 * descriptors that came and were not taken out of their frame.
 */
struct proto_reader {
	uint8_t *buffer;
	size_t size;  /* allocated */
	size_t used;  /* filled */
	size_t taken; /* of these, handed out before */
	/* Set by the owner: descriptors are received from this socket, else a frame has none. */
	bool takes_fds;
	int fds[PROTO_FDS_MAX];
	unsigned int fd_count;
	unsigned int fds_taken; /* of these, handed out with the last frame */
};

struct proto_frame {
	enum proto_type type;
	uint32_t id;
	const uint8_t *body; /* inside the reader, valid until the next call on it */
	size_t body_len;
	/* Owned by the reader, which closes them likewise: take_fd() what is to be kept. */
	int *fds;
	unsigned int fd_count;
};

void proto_reader_destroy(struct proto_reader *reader);

/*
 * Reads once from fd and keeps what came. Returns 1 when something was read, 0 at the end of the
 * stream, or a negative errno (-EAGAIN from a non-blocking fd).
 */
int proto_reader_fill(struct proto_reader *reader, int fd);

/* The same from memory, for tests and fuzzers. Returns 0 or a negative errno. */
int proto_reader_feed(struct proto_reader *reader, const void *bytes, size_t len);

/*
 * Takes the next whole frame. Returns 1 with *frame filled in, 0 when more bytes are needed,
 * -EPROTO for a wrong magic or type or missing descriptors, -EMSGSIZE for a body that is too long.
 * After an error the stream is lost.
 */
int proto_reader_next(struct proto_reader *reader, struct proto_frame *frame);

/*
 * Makes a frame. *out is malloc'ed and the caller's. Returns its length in bytes or a negative
 * errno (-EMSGSIZE, -ENOMEM).
 */
ssize_t proto_frame_make(uint8_t **out, enum proto_type type, uint32_t id, const void *body,
			 size_t body_len);

/* Sends a whole frame on a blocking socket, without SIGPIPE. Returns 0 or a negative errno. */
int proto_send(int fd, enum proto_type type, uint32_t id, const void *body, size_t body_len);

/* The same with descriptors, at most PROTO_FDS_MAX, on a Unix socket. They stay the caller's. */
int proto_send_fds(int fd, enum proto_type type, uint32_t id, const void *body, size_t body_len,
		   const int *fds, unsigned int fd_count);

/*
 * Splits an ATTACH: *out in host order, *parameters behind it inside the frame. Returns 0 or
 * -EPROTO.
 */
int proto_decode_attach(const struct proto_frame *frame, struct proto_attach *out,
			const void **parameters, size_t *len);

/* The parameters of PROTO_ATTACH_NET_RATES and its like. Returns 0 or -EPROTO. */
int proto_decode_rates(const void *parameters, size_t len, struct proto_rates *out);
/* Those of PROTO_ATTACH_MEMORY. */
int proto_decode_bytes(const void *parameters, size_t len, uint64_t *out);

/* ERROR with code (positive errno) and text, cut to PROTO_TEXT_MAX. */
int proto_send_error(int fd, uint32_t id, int code, const char *text);

/*
 * Body codecs. decode: 0, or -EPROTO when the length or a field is out of range; text of an error
 * is copied to a terminated string, as UTF-8; what is broken and control characters other than
 * newline and tab are replaced.
 */
int proto_decode_hello(const struct proto_frame *frame, struct proto_hello *out);
int proto_decode_time(const struct proto_frame *frame, struct proto_time *out);
int proto_decode_resumed(const struct proto_frame *frame, struct proto_resumed *out);
int proto_decode_process(const struct proto_frame *frame, struct proto_process *out);
int proto_decode_freeze(const struct proto_frame *frame, struct proto_freeze *out);
int proto_decode_oom(const struct proto_frame *frame, struct proto_oom *out);

/* The JSON that follows is what *json and *json_len get: bytes inside the frame. */
int proto_decode_exec(const struct proto_frame *frame, struct proto_exec *out, const char **json,
		      size_t *json_len);
int proto_decode_signal(const struct proto_frame *frame, struct proto_signal *out);
int proto_decode_resize(const struct proto_frame *frame, struct proto_resize *out);
int proto_decode_exited(const struct proto_frame *frame, struct proto_exited *out);
int proto_decode_status(const struct proto_frame *frame, struct proto_status *out);
int proto_decode_error(const struct proto_frame *frame, int *code, char *text, size_t text_size);

/*
 * Copies len bytes of hostile text to out, which has room for one more: a terminator. Every byte
 * that is not to be shown becomes a question mark.
 */
void proto_text_clean(char *out, const uint8_t *text, size_t len);

#endif
