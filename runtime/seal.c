#include "runtime/seal.h"
#include "runtime/file.h"
#include "runtime/tool.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK	   4096
#define OUTPUT_MAX 65536

static int make_salt(char hex[DIGEST_HEX + 1])
{
	unsigned char bytes[DIGEST_HEX / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* "Root hash:      26659699..." */
static int read_root_hash(const char *text, char hash[DIGEST_HEX + 1])
{
	const char *line = strstr(text, "Root hash:");

	if (!line)
		return -EPROTO;
	line += strlen("Root hash:");
	line += strspn(line, " \t");
	if (strspn(line, "0123456789abcdef") != DIGEST_HEX)
		return -EPROTO;
	memcpy(hash, line, DIGEST_HEX);
	hash[DIGEST_HEX] = '\0';
	return 0;
}

int seal_image(int fd, struct layer_seal *seal, struct error *err)
{
	cleanup_free char *image = format("/proc/%d/fd/%d", getpid(), fd);
	cleanup_free char *blocks = NULL, *offset = NULL, *salt = NULL, *text = NULL;
	struct stat st;
	int ret;

	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "seal the image");
	ret = make_salt(seal->salt);
	if (ret < 0)
		return error_set(err, -ret, "seal the image: a salt");
	blocks = format("--data-blocks=%lld", (long long)st.st_size / BLOCK);
	offset = format("--hash-offset=%lld", (long long)st.st_size);
	salt = format("--salt=%s", seal->salt);
	if (!image || !blocks || !offset || !salt)
		return error_set(err, ENOMEM, "seal the image");
	char *argv[] = {"veritysetup",
			"format",
			"--no-superblock",
			"--hash=sha256",
			"--data-block-size=4096",
			"--hash-block-size=4096",
			blocks,
			offset,
			salt,
			image,
			image,
			NULL};
	ret = (int)tool_read(argv, "cryptsetup-bin", OUTPUT_MAX, &text, err);
	if (ret < 0)
		return error_prefix(err, ret, "seal the image");
	ret = read_root_hash(text, seal->root_hash);
	if (ret < 0)
		return error_set(err, -ret, "seal the image: veritysetup says no root hash");
	/* The kernel reads whole blocks; the part of a disk is made of them. */
	if (fstat(fd, &st) < 0 || ftruncate(fd, (st.st_size + BLOCK - 1) / BLOCK * BLOCK) < 0)
		return error_set(err, errno, "seal the image");
	seal->data_blocks = (uint64_t)strtoull(blocks + strlen("--data-blocks="), NULL, 10);
	return 0;
}
