// The next hops that every pod knows.

import { present } from "../base/assert.ts";
import { type Ip, parseIp } from "./ip.ts";

/** Addresses that no network uses, answered in the pod by permanent neighbours instead of ARP or discovery. */
export const gateways: { 4: Ip; 6: Ip } = {
  4: present(parseIp("169.254.1.1"), "gateway"),
  6: present(parseIp("fe80::1"), "gateway"),
};
