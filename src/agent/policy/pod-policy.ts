// What ADD, repair and CHECK have to know of policy: the link group of an attachment, which is its class.

import type { CniRequest } from "../../cni/types.ts";
import type { Attachment, AttachmentId, Wired } from "../../ipam/store.ts";
import type { Pod } from "../../kube/core-objects.ts";
import { openGroup } from "../plan.ts";

/** A pod on its way in. */
export interface Entry {
  /** The link group, which is to be the link's from its first moment on. */
  group: number;
  /** Settles when the pod is a member of all that it should be. Until then rules that name it let nothing more pass, and never less is denied. */
  listed: Promise<void>;
}

export interface PodPolicy {
  /** Settles when it is known what judges pods, and whose addresses are listed. @throws Fault "policy-unknown" where that takes too long */
  untilKnown(): Promise<void>;
  /**
   * Settles once the kernel judges by the class of a new attachment. `pod`: the API server's object, where there is one.
   * @throws Fault "policy-unknown" where it is not known what to judge by
   */
  enter(attachment: Wired, pod: Pod | undefined): Promise<Entry>;
  /** Before ADD answers: settles with the link group by everything that was heard until now. */
  settle(attachment: Wired): Promise<number | undefined>;
  /** A link had another group than its class, and has its class again. */
  linkRepaired(): void;
  /** The link group that an attachment should have now; the kernel judges by it already. Undefined where that is not known: it stays as it is. */
  groupOf(id: AttachmentId): number | undefined;
  /** The labels that the caller gives a pod, to be journalled with it; absent where a cluster says what pods are. @throws Fault "unsupported-value" */
  labelsOf?: ((request: CniRequest) => NonNullable<Attachment["labels"]>) | undefined;
  /** Whether the pod may send from any address; undefined where nobody has said yet: it stays as it is. */
  isUnguarded(id: AttachmentId): boolean | undefined;
}

/** Where there is no policy every pod is open. */
export const openPolicy: PodPolicy = {
  untilKnown: async () => {},
  enter: async () => ({ group: openGroup, listed: Promise.resolve() }),
  settle: async () => openGroup,
  linkRepaired: () => {},
  groupOf: () => openGroup,
  isUnguarded: () => false,
};

/** Whose an attachment is that was read back from its link; undefined where that is not known. */
export type FindOwner = (attachment: Attachment) => Attachment["pod"];

/** What a sandbox is called that has no name. */
export type NameOf = (attachment: AttachmentId) => NonNullable<Attachment["pod"]>;

/** The API server's object of a sandbox's pod, where it is known. */
export type FindPod = (pod: NonNullable<Attachment["pod"]>) => Pod | undefined;
