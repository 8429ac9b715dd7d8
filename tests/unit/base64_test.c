#include <check.h>
#include <errno.h>
#include <string.h>

#include "protocol/base64.h"
#include "tests/unit/suites.h"

/* RFC 4648, section 10. */
static const struct {
	const char *bytes, *text;
} vectors[] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
};

START_TEST(speaks_the_rfcs_examples)
{
	const char *bytes = vectors[_i].bytes, *text = vectors[_i].text;
	char encoded[16], decoded[16];

	base64_encode(bytes, strlen(bytes), encoded);
	ck_assert_str_eq(encoded, text);
	ck_assert_uint_eq(base64_length(strlen(bytes)), strlen(text));
	ck_assert_int_eq(base64_decode(text, strlen(text), decoded), (int)strlen(bytes));
	ck_assert_mem_eq(decoded, bytes, strlen(bytes));
}
END_TEST

START_TEST(carries_every_byte)
{
	unsigned char bytes[256], decoded[258];
	char text[345];

	for (int i = 0; i < 256; i++)
		bytes[i] = (unsigned char)i;
	base64_encode(bytes, sizeof(bytes), text);
	ck_assert_int_eq(base64_decode(text, strlen(text), decoded), sizeof(bytes));
	ck_assert_mem_eq(decoded, bytes, sizeof(bytes));
}
END_TEST

START_TEST(refuses_what_is_not_canonical)
{
	static const char *const texts[] = {"Zg=",	"Zg",	"Z===",	 "====", "Zh==", "Zm9=",
					    "Zg==Zg==", "Zm 8", "Zm8\n", "Zm8-", "=Zm8", "Zm8\xc3"};
	char decoded[16];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		ck_assert_int_eq(base64_decode(texts[i], strlen(texts[i]), decoded), -EINVAL);
}
END_TEST

Suite *base64_suite(void)
{
	Suite *suite = suite_create("base64");
	TCase *tcase = tcase_create("base64");

	tcase_add_loop_test(tcase, speaks_the_rfcs_examples, 0,
			    sizeof(vectors) / sizeof(vectors[0]));
	tcase_add_test(tcase, carries_every_byte);
	tcase_add_test(tcase, refuses_what_is_not_canonical);
	suite_add_tcase(suite, tcase);
	return suite;
}
