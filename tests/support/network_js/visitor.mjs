// A stock js-libp2p peer: dials the address it is given, pings, gossips on the topic it is given, and uses the
// DHT. Prints one JSON object for each thing that worked.
import { tcp } from '@libp2p/tcp'
import { ping } from '@libp2p/ping'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { identify } from '@libp2p/identify'
import { gossipsub } from '@libp2p/gossipsub'
import { multiaddr } from '@multiformats/multiaddr'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'

Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((a, b) => { resolve = a; reject = b })
  return { promise, resolve, reject }
}
const { createLibp2p } = await import('libp2p')
const [address, topic, record] = process.argv.slice(2)
const say = (what) => console.log(JSON.stringify(what))
const until = async (test) => { while (!test()) await new Promise((done) => setTimeout(done, 50)) }

const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    pubsub: gossipsub({ allowPublishToZeroTopicPeers: true, globalSignaturePolicy: 'StrictSign' }),
    dht: kadDHT({
      protocol: '/ipfs/kad/1.0.0',
      clientMode: true,
      peerInfoMapper: passthroughMapper,
      validators: { swarmllm: async () => {} },
      selectors: { swarmllm: () => 0 }
    })
  }
})
const heard = []
node.services.pubsub.subscribe(topic)
node.services.pubsub.addEventListener('message', (event) => heard.push(Buffer.from(event.detail.data).toString()))

const connection = await node.dial(multiaddr(address))
say({ connected: connection.remotePeer.toString() })
say({ ping: await node.services.ping.ping(multiaddr(address)) })
await until(() => node.services.pubsub.getSubscribers(topic).length > 0)
const peer = await node.peerStore.get(connection.remotePeer)
say({ protocols: peer.protocols })
await new Promise((done) => setTimeout(done, 1500))
await node.services.pubsub.publish(topic, Buffer.from('from js'))
say({ published: true })
await until(() => heard.length > 0)
say({ heard: heard[0] })
for await (const event of node.services.dht.get(Buffer.from(record))) {
  if (event.name === 'VALUE') {
    say({ record: Buffer.from(event.value).toString('hex') })
    break
  }
}
await node.stop()
process.exit(0)
