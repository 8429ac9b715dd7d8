#include "tests/payload/guest/guest.h"
void main(void){}
