// Who an API server takes its caller for: tokens of service accounts, bound to pods and so to nodes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { refused } from "./kube-objects.contract.ts";
import {
  type Obj,
  type Wire,
  look,
  made,
  madeForTest,
  metadata,
  nameOf,
  testNamespace,
  textOf,
  uniqueName,
} from "./kube-wire.ts";

const reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/** `as` gives a connection with another token. */
export function testCallers(name: string, wire: () => Wire, as: (token: string) => Wire): void {
  test(`${name}: a token bound to a pod names account, pod and node`, async (t) => {
    const space = await testNamespace(wire(), t);
    const node = await madeForTest(wire(), t, "/api/v1/nodes", { metadata: { name: uniqueName("node") } });
    const pods = `/api/v1/namespaces/${space}/pods`;
    const pod = await made(wire(), pods, {
      metadata: { name: "p" },
      spec: { nodeName: nameOf(node), serviceAccountName: "default", containers: [{ name: "c", image: "i" }] },
    });
    const path = `/api/v1/namespaces/${space}/serviceaccounts/default/token`;
    const boundObjectRef = { apiVersion: "v1", kind: "Pod", name: "p", uid: metadata(pod)["uid"] };
    const body = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { expirationSeconds: 600, boundObjectRef },
    };
    const asked = await wire().call("POST", path, { body });
    assert.equal(asked.status, 201, JSON.stringify(asked.body));
    const own = as(textOf(asked.body, "status", "token"));
    t.after(() => own.close());
    const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
    const who = await own.call("POST", reviews, { body: review });
    assert.equal(who.status, 201, JSON.stringify(who.body));
    const user = look(who.body, "status", "userInfo") as Obj;
    assert.equal(user["username"], `system:serviceaccount:${space}:default`);
    assert.deepEqual(user["groups"], [
      "system:serviceaccounts",
      `system:serviceaccounts:${space}`,
      "system:authenticated",
    ]);
    const extra = user["extra"] as Record<string, string[]>;
    const part = (key: string): string | undefined => extra[`authentication.kubernetes.io/${key}`]?.[0];
    assert.deepEqual([part("node-name"), part("node-uid")], [nameOf(node), metadata(node)["uid"]]);
    assert.deepEqual([part("pod-name"), part("pod-uid")], ["p", metadata(pod)["uid"]]);
    const other = { ...body, spec: { boundObjectRef: { ...boundObjectRef, uid: "another" } } };
    refused(await wire().call("POST", path, { body: other }), 409, "Conflict");
    await wire().call("DELETE", `${pods}/p?gracePeriodSeconds=0`);
  });

  test(`${name}: a token that nobody issued is refused`, async (t) => {
    const stranger = as("nonsense");
    t.after(() => stranger.close());
    refused(await stranger.call("GET", "/api/v1/nodes"), 401, "Unauthorized");
  });
}
