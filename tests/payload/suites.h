/* The suites of the payload tests, one a file. */
#ifndef TESTS_PAYLOAD_SUITES_H
#define TESTS_PAYLOAD_SUITES_H

#include <check.h>

Suite *run_suite(void);
Suite *access_suite(void);
Suite *event_suite(void);
Suite *blk_suite(void);
Suite *machine_suite(void);
Suite *wall_suite(void);
Suite *attack_suite(void);

#endif
