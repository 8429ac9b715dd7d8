#include "tests/payload/suites.h"
Suite *blk_suite(void){ return suite_create("blk"); }
