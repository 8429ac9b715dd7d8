/* What `bulkhead stats` shows, from the threads that count it. */
#ifndef VMM_COUNTERS_H
#define VMM_COUNTERS_H

#include "protocol/counters.h"
#include "vmm/slot.h"
#include "vmm/vcpu.h"

/* Each number as it is at some moment of the call. Queues that another process serves are left out.
 */
void counters_collect(const struct vcpu *vcpus, unsigned int vcpu_count, const struct slot *slots,
		      unsigned int slot_count, struct proto_counters *out);

#endif
